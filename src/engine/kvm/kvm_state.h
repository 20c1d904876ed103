// vm::CpuState to and from KVM's structures. KVM_GET/SET_* in Documentation/virt/kvm/api.rst.
#pragma once

#include "base/result.h"
#include "engine/kvm/kvm_abi.h"
#include "vm/cpu_state.h"

namespace dejavm::kvm {

/// What differs from host to host, found by the probe.
struct KvmQuirks {
  /// A nested AMD KVM refuses to enter a guest whose TR was set with the busy bit.
  bool clear_tr_busy = false;
  /// A host interrupt that comes right behind STI ends the interrupt shadow: where an AMD CPU is emulated, VMRUN may not
  /// load it from the VMCB. What waits then enters, and the window opens, one instruction early.
  bool loses_shadow = false;
};

/// The part of the state that KvmRegisters delivers: general, segment and control registers, shadow, NMI mask. The same
/// state reads the same on every KVM: bits that processors keep differently have one fixed form (segments: G follows the
/// limit, accessed and busy are set, not present is unusable).
void fill_registers(const kvm_sync_regs& from, vm::CpuState& to);

/// The whole state.
Result<vm::CpuState> read_state(int vcpu_fd, const kvm_sync_regs& registers);
/// Replaces the whole state; nothing injected or pending stays.
Status write_state(int vcpu_fd, const vm::CpuState& state, const KvmQuirks& quirks);

}  // namespace dejavm::kvm
