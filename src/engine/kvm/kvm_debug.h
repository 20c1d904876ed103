// KVM_SET_GUEST_DEBUG: single-step and hardware execution breakpoints.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/kvm/kvm_abi.h"
#include "vm/address.h"

namespace dejavm::kvm {

inline constexpr unsigned kMaxHardwareBreakpoints = 4;

/// Knows what is armed in KVM and calls it only for changes. Borrows the descriptor.
class KvmDebug {
 public:
  explicit KvmDebug(int vcpu_fd) : vcpu_fd_(vcpu_fd) {}

  /// At most kMaxHardwareBreakpoints; in force after the next arm_breakpoints().
  void set_breakpoints(std::span<const vm::GuestVirt> addresses);
  std::span<const vm::GuestVirt> breakpoints() const { return breakpoints_; }
  bool any() const { return !breakpoints_.empty(); }
  bool has(vm::GuestVirt address) const;

  Status disarm();
  Status arm_breakpoints();
  /// Arms anew at every call: after an emulated instruction AMD's KVM has lost the trap flag.
  Status arm_step();

 private:
  enum class Armed { nothing, breakpoints, step };

  Status arm(const kvm_guest_debug& debug, Armed armed);

  int vcpu_fd_;
  std::vector<vm::GuestVirt> breakpoints_;
  Armed armed_ = Armed::nothing;
  bool stale_ = false;  // the armed breakpoints are not breakpoints_
};

}  // namespace dejavm::kvm
