// Linux bzImage. Source: Linux, Documentation/arch/x86/boot.rst (32-bit and 64-bit boot protocol).
#pragma once

#include "vm/loader/boot_plan.h"

namespace dejavm::loader {

/// True for a file with the magic numbers of a Linux setup header.
bool is_bzimage(ByteSpan file);

/// By the 64-bit protocol where the kernel has its entry, else by the 32-bit protocol. The kernel stands at its preferred
/// address, or, if it can be moved and RAM is too small for that, at the lowest one that it accepts.
Result<BootPlan> plan_bzimage(const BootRequest& request);

}  // namespace dejavm::loader
