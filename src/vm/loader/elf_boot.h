// Starting an ELF file: by its PVH entry, or plainly at its entry point.
// Source of PVH: Xen, docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h.
#pragma once

#include "vm/loader/boot_plan.h"
#include "vm/loader/elf_file.h"

namespace dejavm::loader {

/// With a PVH note: 32-bit protected mode at its entry, EBX = hvm_start_info. Else at e_entry, in 32-bit protected mode or,
/// for a 64-bit file, in long mode with the low 4 GiB mapped to themselves; ESI or RSI = a Linux zero page, so that an
/// uncompressed Linux kernel (vmlinux) finds its command line, memory map and initial RAM disk.
Result<BootPlan> plan_elf(const BootRequest& request);

}  // namespace dejavm::loader
