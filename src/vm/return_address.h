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

/// The word of the stack that a RET will take, and what it holds.
struct ReturnSlot {
  GuestVirt at;
  GuestVirt returns_to;
};

/// The slots of the functions that run, at most `count`, the innermost first, found by following the code from RIP to RET
/// and what it does to the stack pointer on the way. 64-bit code only. Compiled code has one depth of the stack at an
/// address, so that any way to RET will do; calls are taken to return. Ends where the code cannot be followed.
std::vector<ReturnSlot> find_return_slots(const CpuState& cpu, const GuestMemory& memory, size_t count);

}  // namespace dejavm::vm
