#include "vm/loader/multiboot.h"

#include <algorithm>

#include "vm/loader/elf_file.h"
#include "vm/loader/image.h"

namespace dejavm::loader {
namespace {

constexpr uint64_t kPage = vm::kPageSize;
constexpr uint64_t kSearched = 8192;
constexpr uint32_t kHeaderMagic = 0x1badb002, kLoadedMagic = 0x2badb002;
constexpr uint32_t kHasAddresses = 1u << 16;
// Bits below 16 are demands. Page-aligned modules and memory information are met; a video mode is not, as in QEMU: bit 12
// of the answer tells the guest.
constexpr uint32_t kDemandsMet = 0x0007, kDemands = 0xffff;
constexpr uint64_t kHeaderSize = 12, kAddressesSize = 20;
constexpr uint64_t kInfoSize = 88, kMapEntrySize = 24, kModuleSize = 16;
constexpr uint32_t kInfoMemory = 1u << 0, kInfoCommandLine = 1u << 2, kInfoModules = 1u << 3, kInfoMap = 1u << 6,
                   kInfoLoaderName = 1u << 9;
constexpr uint8_t kElfClass64 = 2;

/// The offset of the header, or nothing.
std::optional<uint64_t> find_header(ByteSpan file) {
  uint64_t end = std::min<uint64_t>(file.size(), kSearched);
  for (uint64_t at = 0; at + kHeaderSize <= end; at += 4) {
    if (load_le<uint32_t>(&file[at]) != kHeaderMagic) continue;
    uint32_t sum = kHeaderMagic + load_le<uint32_t>(&file[at + 4]) + load_le<uint32_t>(&file[at + 8]);
    if (sum == 0) return at;
  }
  return std::nullopt;
}

/// Loads by the addresses in the header. Returns the entry.
Result<uint64_t> put_by_addresses(BootPlan& plan, BootMemory& memory, const Image& image, uint64_t header) {
  TRY_ASSIGN(ByteSpan fields, image.range(header + kHeaderSize, kAddressesSize, "the multiboot header's addresses"));
  uint64_t header_addr = load_le<uint32_t>(&fields[0]), load_addr = load_le<uint32_t>(&fields[4]),
           load_end = load_le<uint32_t>(&fields[8]), bss_end = load_le<uint32_t>(&fields[12]),
           entry = load_le<uint32_t>(&fields[16]);
  if (load_addr > header_addr || header_addr - load_addr > header) {
    return image.bad(
        fmt::format("multiboot load_addr {:#x} does not fit header_addr {:#x}, which stands at {:#x} of the file", load_addr,
                    header_addr, header),
        "load_addr is where the loaded part begins, at or before the header.");
  }
  uint64_t offset = header - (header_addr - load_addr);
  if (load_end == 0) load_end = load_addr + (image.size() - offset);
  if (bss_end == 0) bss_end = load_end;
  if (load_end <= load_addr || bss_end < load_end || bss_end > kBelow4g) {
    return image.bad(fmt::format("multiboot load_addr {:#x}, load_end_addr {:#x} and bss_end_addr {:#x} are not in order",
                                 load_addr, load_end, bss_end),
                     "They ascend, and lie below 4 GiB.");
  }
  TRY_ASSIGN(ByteSpan bytes, image.range(offset, load_end - load_addr, "what the multiboot header says to load"));
  TRY(memory.take(load_addr, bss_end - load_addr, fmt::format("the kernel {}", image.name())));
  plan.add(load_addr, bytes);
  if (entry < load_addr || entry >= bss_end) {
    return image.bad(fmt::format("multiboot entry_addr {:#x} is not in the loaded part", entry),
                     "It lies from load_addr to bss_end_addr.");
  }
  return entry;
}

Result<uint64_t> put_elf_kernel(BootPlan& plan, BootMemory& memory, const Image& image) {
  if (!is_elf(image.bytes())) {
    return image.bad("the multiboot header has no addresses (flag 16), and the file is not ELF",
                     "Set flag 16 and the five addresses behind it, or link the kernel as 32-bit ELF.");
  }
  TRY_ASSIGN(ElfFile elf, parse_elf(image));
  TRY(put_elf(plan, memory, image, elf));
  TRY(check_entry(image, elf, elf.entry, "the entry point"));
  return elf.entry;
}

Bytes text_bytes(const std::string& text) {
  Bytes bytes(text.begin(), text.end());
  bytes.push_back(0);
  return bytes;
}

/// Puts the modules and their list; returns the list's address.
Result<uint64_t> put_modules(BootPlan& plan, BootMemory& memory, const BootRequest& request) {
  uint64_t least = kHighLeast;
  for (const BootPiece& piece : plan.pieces()) least = std::max(least, piece.at.value + piece.bytes.size());
  Bytes list(request.initrd.size() * kModuleSize);
  uint8_t* entry = list.data();
  for (const NamedFile& module : request.initrd) {
    uint64_t size = std::max<uint64_t>(module.bytes.size(), 1);
    TRY_ASSIGN(uint64_t at, memory.take_lowest(size, kPage, least, kBelow4g, fmt::format("the module {}", module.name)));
    plan.add(at, module.bytes);
    TRY_ASSIGN(uint64_t text, put_low(plan, memory, text_bytes(module.name), "a module's command line"));
    store_le(entry, static_cast<uint32_t>(at));
    store_le(entry + 4, static_cast<uint32_t>(at + module.bytes.size()));
    store_le(entry + 8, static_cast<uint32_t>(text));
    entry += kModuleSize;
  }
  return put_low(plan, memory, std::move(list), "the module list");
}

Result<uint64_t> put_memory_map(BootPlan& plan, BootMemory& memory) {
  Bytes map(memory.areas().size() * kMapEntrySize);
  uint8_t* entry = map.data();
  for (const MemoryArea& area : memory.areas()) {
    store_le<uint32_t>(entry, kMapEntrySize - 4);  // the size does not count itself
    store_le(entry + 4, area.base);
    store_le(entry + 12, area.size);
    store_le<uint32_t>(entry + 20, area.usable ? 1 : 2);
    entry += kMapEntrySize;
  }
  return put_low(plan, memory, std::move(map), "the memory map");
}

/// KiB of RAM from `base` on, up to the first hole.
uint32_t kib_from(const BootMemory& memory, uint64_t base) {
  for (const MemoryArea& area : memory.areas()) {
    if (area.usable && area.base <= base && base - area.base < area.size) {
      return static_cast<uint32_t>((std::min(area.base + area.size, kBelow4g) - base) / 1024);
    }
  }
  return 0;
}

Result<uint64_t> put_info(BootPlan& plan, BootMemory& memory, const BootRequest& request) {
  Bytes info(kInfoSize);
  constexpr uint32_t kFlags = kInfoMemory | kInfoCommandLine | kInfoModules | kInfoMap | kInfoLoaderName;
  store_le(&info[4], kib_from(memory, 0));
  store_le(&info[8], kib_from(memory, kHighLeast));
  TRY_ASSIGN(uint64_t command_line, put_command_line(plan, memory, request.kernel->name + " " + request.command_line));
  store_le(&info[16], static_cast<uint32_t>(command_line));
  if (!request.initrd.empty()) {
    TRY_ASSIGN(uint64_t modules, put_modules(plan, memory, request));
    store_le(&info[20], static_cast<uint32_t>(request.initrd.size()));
    store_le(&info[24], static_cast<uint32_t>(modules));
  }
  TRY_ASSIGN(uint64_t map, put_memory_map(plan, memory));
  store_le(&info[44], static_cast<uint32_t>(memory.areas().size() * kMapEntrySize));
  store_le(&info[48], static_cast<uint32_t>(map));
  TRY_ASSIGN(uint64_t name, put_low(plan, memory, text_bytes("dejavm"), "the boot loader's name"));
  store_le(&info[64], static_cast<uint32_t>(name));
  store_le(&info[0], kFlags);
  return put_low(plan, memory, std::move(info), "the multiboot information");
}

}  // namespace

bool is_multiboot(ByteSpan file) {
  std::optional<uint64_t> header = find_header(file);
  if (!header) return false;
  bool elf64 = is_elf(file) && file.size() > 4 && file[4] == kElfClass64;
  return !elf64 || (load_le<uint32_t>(&file[*header + 4]) & kHasAddresses) != 0;
}

Result<BootPlan> plan_multiboot(const BootRequest& request) {
  Image image(request.kernel->name, request.kernel->bytes);
  std::optional<uint64_t> header = find_header(image.bytes());
  if (!header) return image.bad("no multiboot header in the first 8 KiB", "Put it there, aligned to 4 bytes.");
  auto flags = load_le<uint32_t>(&image.bytes()[*header + 4]);
  if ((flags & kDemands & ~kDemandsMet) != 0) {
    return image.bad(fmt::format("multiboot flags {:#x} demand something unknown", flags),
                     "Bits 0 to 2 are known to version 1.");
  }
  BootPlan plan;
  TRY_ASSIGN(BootMemory memory, put_raw_images(plan, request));
  uint64_t entry = 0;
  if ((flags & kHasAddresses) != 0) {
    TRY_ASSIGN(entry, put_by_addresses(plan, memory, image, *header));
  } else {
    TRY_ASSIGN(entry, put_elf_kernel(plan, memory, image));
  }
  TRY_ASSIGN(uint64_t info, put_info(plan, memory, request));
  TRY(start_flat32(plan, memory, entry));
  plan.cpu.gpr[vm::rax] = kLoadedMagic;
  plan.cpu.gpr[vm::rbx] = info;
  plan.description = fmt::format("{}: multiboot kernel, entry {:#x}{}", image.name(), entry, initrd_text(plan, request));
  return plan;
}

}  // namespace dejavm::loader
