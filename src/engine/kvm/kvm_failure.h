// What to say when KVM cannot go on.
#pragma once

#include <string>

#include "base/result.h"
#include "engine/kvm/kvm_abi.h"
#include "vm/cpu_state.h"
#include "vm/guest_memory.h"

namespace dejavm::kvm {

/// The error for an exit that the engine cannot present as a value: emulation failures with the instruction's bytes,
/// disassembly and registers; entry failures and others with their numbers.
Error describe_failure(const kvm_run& run, const vm::CpuState& state, const vm::GuestMemory& memory);

/// The error for an access to guest memory that KVM hands to userspace.
Error describe_memory_exit(const kvm_run& run, const vm::CpuState& state, const vm::GuestMemory& memory);

/// The error for a guest that KVM does not get to an instruction boundary: an event is on its way, or an interrupt shadow
/// does not end.
Error describe_stuck_event(const kvm_vcpu_events& events, const vm::CpuState& state, const vm::GuestMemory& memory);

/// The instruction at `address`: "0f ae 00  fxsave [rax]".
std::string disassemble(const vm::CpuState& state, uint64_t address, ByteSpan bytes);

}  // namespace dejavm::kvm
