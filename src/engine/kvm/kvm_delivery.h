// Where an interrupt goes.
#pragma once

#include <cstdint>
#include <optional>

#include "vm/cpu_state.h"
#include "vm/guest_memory.h"

namespace dejavm::kvm {

/// The linear address of the first instruction of a vector's handler (AMD64 APM volume 2, sections 8.6 to 8.9); nullopt
/// where the table cannot be read, holds no gate with an address there (task gates), or the delivery would fault.
std::optional<vm::GuestVirt> handler_address(const vm::CpuState& state, const vm::GuestMemory& memory, uint8_t vector);

}  // namespace dejavm::kvm
