// Where the functions that run will return to, without symbols or frame pointers.
#pragma once

#include <vector>

#include "vm/address.h"
#include "vm/cpu_state.h"
#include "vm/guest_memory.h"

namespace dejavm::vm {

/// The words from the stack pointer on (of 64) that are addresses right behind a CALL, as far as they differ: at most
/// `count`, the innermost first. 64-bit code only. Some may be left behind by earlier calls.
std::vector<GuestVirt> find_return_addresses(const CpuState& cpu, const GuestMemory& memory, size_t count);

}  // namespace dejavm::vm
