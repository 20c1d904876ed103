// An ELF executable as a boot loader sees it. Source: System V ABI, chapters 4 and 5; its AMD64 and i386 supplements.
#pragma once

#include <optional>
#include <vector>

#include "vm/loader/boot_memory.h"
#include "vm/loader/boot_plan.h"
#include "vm/loader/image.h"

namespace dejavm::loader {

bool is_elf(ByteSpan file);

/// A PT_LOAD segment with memory. `bytes` is what the file has of it; the rest, up to `size`, is zero.
struct ElfSegment {
  uint64_t physical = 0;
  uint64_t virtual_address = 0;
  uint64_t size = 0;
  bool executable = false;
  ByteSpan bytes;
};

struct ElfFile {
  bool is_64 = false;
  uint64_t entry = 0;  ///< physical
  std::vector<ElfSegment> segments;
  /// The entry point of a Xen PVH note (XEN_ELFNOTE_PHYS32_ENTRY).
  std::optional<uint64_t> pvh_entry;
};

/// Checks all that is used of the file: x86 executables only.
Result<ElfFile> parse_elf(const Image& image);

/// Takes the segments' places and puts them there.
Status put_elf(BootPlan& plan, BootMemory& memory, const Image& image, const ElfFile& elf);

/// An error unless `entry` lies in a segment and below 4 GiB.
Status check_entry(const Image& image, const ElfFile& elf, uint64_t entry, std::string_view what);

}  // namespace dejavm::loader
