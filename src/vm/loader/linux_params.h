// What a Linux kernel is told: the zero page, the command line, the initial RAM disk.
// Source: Linux, Documentation/arch/x86/boot.rst and zero-page.rst.
#pragma once

#include "vm/loader/boot_plan.h"

namespace dejavm::loader {

/// Offsets in the zero page; the setup header stands in the same place in a bzImage.
inline constexpr uint64_t kSetupHeader = 0x1f1;

/// Puts the initial RAM disk (at most one) as high as the kernel can reach, and the zero page with `setup_header` (what
/// stands in a bzImage from kSetupHeader on; empty: none) below 640 KiB. `reach`: the highest address that the kernel can
/// use for the disk. Returns the zero page's address.
Result<uint64_t> put_linux_params(BootPlan& plan, BootMemory& memory, const BootRequest& request, ByteSpan setup_header,
                                  uint64_t reach);

}  // namespace dejavm::loader
