// Crafted kernels, small enough to read, and what tests ask of a plan.
#pragma once

#include <string>
#include <vector>

#include "vm/loader/boot_plan.h"

namespace dejavm::loader {

/// 64 MiB, as a pc tells it.
std::vector<MemoryArea> small_memory();
BootRequest request_for(Bytes kernel, std::string command_line = {});

/// The setup header of a current Linux kernel in front of `kernel_size` bytes of 0xcc.
struct BzImage {
  uint16_t version = 0x20f;
  uint8_t load_flags = 1;
  uint16_t xload_flags = 1;
  uint8_t relocatable = 1;
  uint32_t alignment = 0x200000;
  uint32_t cmdline_size = 2047;
  uint32_t initrd_addr_max = 0x7fffffff;
  uint64_t pref_address = 0x1000000;
  uint32_t init_size = 0x400000;
  uint8_t setup_sects = 3;
  uint32_t kernel_size = 5000;
};
Bytes make_bzimage(const BzImage& image);

struct Phdr {
  uint32_t type = 1;
  uint64_t paddr = 0x100000;
  uint64_t vaddr = 0x100000;
  Bytes bytes = Bytes(64, 0x90);
  uint64_t memsz = 64;
  uint64_t align = 4096;
};
/// Program headers behind the ELF header, then the segments' bytes in order.
Bytes make_elf(bool is_64, uint64_t entry, const std::vector<Phdr>& headers);
/// A note section with an entry for PVH of 4 or 8 bytes, behind a note of someone else.
Bytes xen_note(uint64_t entry, unsigned size);

/// A multiboot header at `at` of a file of `size` bytes; `words` follow its checksum.
Bytes make_multiboot(uint32_t flags, const std::vector<uint32_t>& words = {}, size_t at = 16, size_t size = 512);

/// The bytes that the plan puts at an address; empty where no piece begins.
ByteSpan bytes_at(const BootPlan& plan, uint64_t at);
/// A field of what stands at an address, within any piece.
uint64_t field_at(const BootPlan& plan, uint64_t at, unsigned size);
/// Zero-terminated.
std::string text_at(const BootPlan& plan, uint64_t at);

}  // namespace dejavm::loader
