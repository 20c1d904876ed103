// General, system and event state of the last exit: from the page that KVM shares where it can, else by ioctls.
#pragma once

#include "base/result.h"
#include "engine/kvm/kvm_abi.h"

namespace dejavm::kvm {

/// A cache of what KVM delivers with every exit (KVM_CAP_SYNC_REGS). Borrows the descriptor and the shared page.
/// Invariant: what get() returns is the vCPU's present state, if everyone who changes it calls invalidate().
class KvmRegisters {
 public:
  KvmRegisters(int vcpu_fd, kvm_run& run, bool sync_supported);

  /// Before each KVM_RUN: asks for the registers with its exit, which costs a microsecond or two, where those of the exit
  /// before were looked at.
  void before_run();
  /// The vCPU ran.
  void ran() { fresh_ = run_.kvm_valid_regs != 0; }
  /// The vCPU's state was changed by an ioctl.
  void invalidate() { fresh_ = false; }

  Result<const kvm_sync_regs*> get();

 private:
  int vcpu_fd_;
  kvm_run& run_;
  bool sync_supported_;
  bool fresh_ = false;
  bool looked_at_ = false;  // since the last KVM_RUN
};

/// An interrupt, NMI or exception was queued and its frame is not pushed yet.
bool event_pending(const kvm_vcpu_events& events);

/// The linear address of RIP.
uint64_t linear_rip(const kvm_sync_regs& registers);

}  // namespace dejavm::kvm
