// Where the loop that runs will be left, without symbols.
#pragma once

#include <optional>

#include "vm/address.h"
#include "vm/cpu_state.h"
#include "vm/guest_memory.h"
#include "vm/vcpu.h"

namespace dejavm::vm {

/// The instruction behind the conditional jump that closes the innermost loop around a linear address: one back to there or
/// to what stands before it. As compilers lay loops out; a loop that is left from its middle is not seen. 64-bit code only.
/// Looks at no more than the next 256 instructions.
std::optional<GuestVirt> find_loop_exit(const CpuState& cpu, const GuestMemory& memory, GuestVirt address);

/// Where a way out leads to from here. `caller`: where the caller goes on that it names, if that is known; not used for
/// level 0. nullopt: nowhere.
std::optional<GuestVirt> leads_to(const CpuState& cpu, const GuestMemory& memory, WayOut way,
                                  std::optional<GuestVirt> caller);

}  // namespace dejavm::vm
