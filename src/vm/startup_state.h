// CPU states in which a piece of code can be started: tiny guests of the probe and of tests, images that are loaded without
// firmware.
#pragma once

#include <cstdint>

#include "vm/cpu_state.h"

namespace dejavm::vm {

/// Real mode at a linear address below 64 KiB: segment bases 0, interrupts off.
CpuState real_mode_state(uint64_t rip);

/// 64-bit ring 0 at a linear address: flat segments (code selector 8, data selector 16), paging by the tables at `cr3`, SSE
/// usable, interrupts off. GDT and IDT are those of a reset: the caller has them point to tables, or does without.
CpuState long_mode_state(uint64_t rip, uint64_t cr3);

}  // namespace dejavm::vm
