// Multiboot kernels, version 1. Source: The Multiboot Specification, version 0.6.96.
#pragma once

#include "vm/loader/boot_plan.h"

namespace dejavm::loader {

/// True for a file with a valid multiboot header in its first 8 KiB; a 64-bit ELF file counts only where the header says
/// itself where to load it, because the specification knows 32-bit ELF alone.
bool is_multiboot(ByteSpan file);

/// Modules are the files of -initrd, each on pages of its own behind the kernel. As in QEMU, the kernel's command line is
/// its file name, a blank and -append, and a module's is what -initrd says of it.
Result<BootPlan> plan_multiboot(const BootRequest& request);

}  // namespace dejavm::loader
