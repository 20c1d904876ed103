#include "vm/loader/boot_plan.h"

#include "base/check.h"
#include "vm/loader/bzimage.h"
#include "vm/loader/elf_boot.h"
#include "vm/loader/flat.h"
#include "vm/loader/multiboot.h"
#include "vm/loader/start_state.h"

namespace dejavm::loader {
namespace {

constexpr uint64_t kPage = vm::kPageSize;
/// QEMU and Linux agree on less; this keeps a text out of the way of everything else below 640 KiB.
constexpr uint64_t kMaxCommandLine = 64 * 1024;

Result<uint64_t> put_stack(BootMemory& memory) {
  TRY_ASSIGN(uint64_t stack, memory.take_lowest(kPage, kPage, kLowLeast, kLowEnd, "the stack"));
  return stack + kPage;
}

}  // namespace

bool takes_modules(ByteSpan kernel) { return !is_bzimage(kernel) && is_multiboot(kernel); }

Result<BootPlan> plan_boot(const BootRequest& request) {
  if (!request.kernel) {
    if (request.initrd.empty() && request.command_line.empty()) return plan_flat(request);
    return fail_usage("-initrd and -append want a kernel", "Add -kernel FILE.");
  }
  for (const RawImage& image : request.images) {
    if (image.start) return fail_usage("-kernel and -device loader,cpu-num=0 both start the CPU", "Leave one of them out.");
  }
  ByteSpan kernel = request.kernel->bytes;
  if (is_bzimage(kernel)) return plan_bzimage(request);
  if (is_multiboot(kernel)) return plan_multiboot(request);
  if (is_elf(kernel)) return plan_elf(request);
  return fail(fmt::format("{}: neither a Linux bzImage nor an ELF file nor a multiboot kernel", request.kernel->name),
              "Start a flat image with -device loader,file=FILE,addr=ADDR,cpu-num=0, a firmware image with -bios.");
}

Status apply(const BootPlan& plan, vm::GuestMemory& memory) {
  for (const BootPiece& piece : plan.pieces()) TRY(memory.write(piece.at, piece.bytes, vm::Writer::loader));
  return {};
}

Result<BootMemory> put_raw_images(BootPlan& plan, const BootRequest& request) {
  BootMemory memory(request.memory);
  for (const RawImage& image : request.images) {
    if (image.file.bytes.empty()) return fail_usage(fmt::format("-device loader: {} is empty", image.file.name));
    TRY(memory.take(image.addr, image.file.bytes.size(), fmt::format("-device loader: {}", image.file.name)));
    plan.add(image.addr, image.file.bytes);
  }
  return memory;
}

Result<uint64_t> put_low(BootPlan& plan, BootMemory& memory, Bytes bytes, const std::string& what) {
  CHECK(!bytes.empty());
  uint64_t align = bytes.size() < kPage ? 16 : kPage;
  TRY_ASSIGN(uint64_t at, memory.take_lowest(bytes.size(), align, kLowLeast, kLowEnd, what));
  plan.add_own(at, std::move(bytes));
  return at;
}

Result<uint64_t> put_command_line(BootPlan& plan, BootMemory& memory, const std::string& text) {
  if (text.size() >= kMaxCommandLine) {
    return fail_usage(fmt::format("-append: a command line of {} bytes is too long", text.size()),
                      fmt::format("At most {} bytes fit.", kMaxCommandLine - 1));
  }
  Bytes bytes(text.begin(), text.end());
  bytes.push_back(0);
  return put_low(plan, memory, std::move(bytes), "the command line");
}

Status start_flat32(BootPlan& plan, BootMemory& memory, uint64_t entry) {
  CHECK(entry < kBelow4g);
  TRY_ASSIGN(uint64_t gdt, put_low(plan, memory, boot_gdt(32), "the GDT"));
  plan.cpu = flat32_state(static_cast<uint32_t>(entry), gdt);
  TRY_ASSIGN(plan.cpu.gpr[vm::rsp], put_stack(memory));
  return {};
}

Status start_long_mode(BootPlan& plan, BootMemory& memory, uint64_t entry) {
  CHECK(entry < kBelow4g);
  TRY_ASSIGN(uint64_t gdt, put_low(plan, memory, boot_gdt(64), "the GDT"));
  TRY_ASSIGN(uint64_t tables, memory.take_lowest(kIdentityTablesSize, kPage, kLowLeast, kLowEnd, "the page tables"));
  plan.add_own(tables, identity_tables(tables));
  plan.cpu = long_mode_state(entry, gdt, tables);
  TRY_ASSIGN(plan.cpu.gpr[vm::rsp], put_stack(memory));
  return {};
}

std::string initrd_text(const BootPlan& plan, const BootRequest& request) {
  std::string text;
  for (const NamedFile& initrd : request.initrd) {
    for (const BootPiece& piece : plan.pieces()) {
      if (piece.bytes.data() != initrd.bytes.data() || piece.bytes.empty()) continue;
      text += fmt::format(", {} at {:#x}", initrd.name, piece.at.value);
    }
  }
  return text;
}

}  // namespace dejavm::loader
