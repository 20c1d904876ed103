#include "vm/loader/elf_boot.h"

#include "vm/loader/linux_params.h"

namespace dejavm::loader {
namespace {

constexpr uint64_t kPage = vm::kPageSize;
/// No kernel says here how far it reaches for an initial RAM disk: the least that 32-bit Linux does.
constexpr uint64_t kInitrdReach = 0x37ffffff;

// hvm_start_info, version 1.
constexpr uint32_t kStartMagic = 0x336ec578;
constexpr uint64_t kStartSize = 56, kModuleSize = 32, kMapEntrySize = 24;

Result<uint64_t> put_memory_map(BootPlan& plan, BootMemory& memory) {
  Bytes map;
  for (const MemoryArea& area : memory.areas()) {
    size_t at = map.size();
    map.resize(at + kMapEntrySize);
    store_le(&map[at], area.base);
    store_le(&map[at + 8], area.size);
    store_le<uint32_t>(&map[at + 16], area.usable ? 1 : 2);
  }
  return put_low(plan, memory, std::move(map), "the memory map");
}

/// The module list of one initial RAM disk; 0 without one.
Result<uint64_t> put_initrd_module(BootPlan& plan, BootMemory& memory, const BootRequest& request) {
  if (request.initrd.empty() || request.initrd[0].bytes.empty()) return uint64_t{0};
  if (request.initrd.size() > 1) return fail_usage("-initrd: a PVH kernel takes one file");
  const NamedFile& initrd = request.initrd[0];
  TRY_ASSIGN(uint64_t at, memory.take_highest(initrd.bytes.size(), kPage, kHighLeast, kInitrdReach + 1,
                                              fmt::format("the initial RAM disk {}", initrd.name)));
  plan.add(at, initrd.bytes);
  Bytes list(kModuleSize);
  store_le(&list[0], at);
  store_le<uint64_t>(&list[8], initrd.bytes.size());
  return put_low(plan, memory, std::move(list), "the module list");
}

Result<uint64_t> put_start_info(BootPlan& plan, BootMemory& memory, const BootRequest& request) {
  TRY_ASSIGN(uint64_t command_line, put_command_line(plan, memory, request.command_line));
  TRY_ASSIGN(uint64_t modules, put_initrd_module(plan, memory, request));
  TRY_ASSIGN(uint64_t map, put_memory_map(plan, memory));
  Bytes info(kStartSize);
  store_le<uint32_t>(&info[0], kStartMagic);
  store_le<uint32_t>(&info[4], 1);                      // version
  store_le<uint32_t>(&info[12], modules != 0 ? 1 : 0);  // nr_modules
  store_le(&info[16], modules);
  store_le(&info[24], command_line);
  store_le(&info[32], request.acpi_rsdp);
  store_le(&info[40], map);
  store_le(&info[48], static_cast<uint32_t>(memory.areas().size()));
  return put_low(plan, memory, std::move(info), "hvm_start_info");
}

Status start_pvh(BootPlan& plan, BootMemory& memory, const BootRequest& request, uint64_t entry) {
  TRY_ASSIGN(uint64_t info, put_start_info(plan, memory, request));
  TRY(start_flat32(plan, memory, entry));
  plan.cpu.gpr[vm::rbx] = info;
  return {};
}

Status start_plain(BootPlan& plan, BootMemory& memory, const BootRequest& request, const ElfFile& elf) {
  TRY_ASSIGN(uint64_t zero_page, put_linux_params(plan, memory, request, {}, kInitrdReach));
  if (elf.is_64) {
    TRY(start_long_mode(plan, memory, elf.entry));
  } else {
    TRY(start_flat32(plan, memory, elf.entry));
  }
  plan.cpu.gpr[vm::rsi] = zero_page;
  return {};
}

}  // namespace

Result<BootPlan> plan_elf(const BootRequest& request) {
  Image image(request.kernel->name, request.kernel->bytes);
  TRY_ASSIGN(ElfFile elf, parse_elf(image));
  BootPlan plan;
  TRY_ASSIGN(BootMemory memory, put_raw_images(plan, request));
  TRY(put_elf(plan, memory, image, elf));
  if (elf.pvh_entry) {
    TRY(check_entry(image, elf, *elf.pvh_entry, "the PVH entry"));
    TRY(start_pvh(plan, memory, request, *elf.pvh_entry));
    plan.description = fmt::format("{}: PVH kernel, entry {:#x}", image.name(), *elf.pvh_entry);
  } else {
    TRY(check_entry(image, elf, elf.entry, "the entry point"));
    TRY(start_plain(plan, memory, request, elf));
    plan.description = fmt::format("{}: {}-bit ELF, entry {:#x}", image.name(), elf.is_64 ? 64 : 32, elf.entry);
  }
  plan.description += initrd_text(plan, request);
  return plan;
}

}  // namespace dejavm::loader
