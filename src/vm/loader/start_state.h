// The CPU as a boot loader hands it to a guest, and the tables that such a state stands on.
// Sources: AMD64 Architecture Programmer's Manual, volume 2 (chapters 4, 5 and 14).
#pragma once

#include "base/bytes.h"
#include "vm/cpu_state.h"

namespace dejavm::loader {

/// Selectors of boot_gdt(): those that Linux's boot protocols ask for.
inline constexpr uint16_t kBootCode = 0x10, kBootData = 0x18;

/// A GDT with flat code (64 or 32 bits) at kBootCode and flat data at kBootData.
Bytes boot_gdt(unsigned code_bits);

/// Page tables at `base` (a multiple of 4 KiB) that map the low 4 GiB to themselves in pages of 2 MiB; the PML4 comes first.
inline constexpr uint64_t kIdentityTablesSize = 6 * 4096;
Bytes identity_tables(uint64_t base);

/// Real mode at a linear address below 1 MiB: CS is a multiple of 0x1000, the other segments are 0, SP is 0x7c00 or,
/// where the start is below 64 KiB, the start.
vm::CpuState real_mode_state(uint32_t start);
/// Protected mode with flat 32-bit segments, paging and interrupts off.
vm::CpuState flat32_state(uint32_t entry, uint64_t gdt);
/// Long mode with flat segments and interrupts off.
vm::CpuState long_mode_state(uint64_t entry, uint64_t gdt, uint64_t page_tables);

}  // namespace dejavm::loader
