#include "engine/kvm/kvm_debug.h"

#include <algorithm>

#include "base/check.h"
#include "engine/kvm/kvm_system.h"

namespace dejavm::kvm {

void KvmDebug::set_breakpoints(std::span<const vm::GuestVirt> addresses) {
  CHECK(addresses.size() <= kMaxHardwareBreakpoints);
  breakpoints_.assign(addresses.begin(), addresses.end());
  stale_ = true;
}

bool KvmDebug::has(vm::GuestVirt address) const {
  return std::find(breakpoints_.begin(), breakpoints_.end(), address) != breakpoints_.end();
}

Status KvmDebug::disarm() {
  if (armed_ == Armed::nothing) return {};
  return arm({}, Armed::nothing);
}

Status KvmDebug::arm_breakpoints() {
  if (breakpoints_.empty()) return disarm();
  if (armed_ == Armed::breakpoints && !stale_) return {};
  kvm_guest_debug debug{};
  debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
  debug.arch.debugreg[7] = 0x400;
  for (size_t i = 0; i < breakpoints_.size(); ++i) {
    debug.arch.debugreg[i] = breakpoints_[i].value;
    debug.arch.debugreg[7] |= uint64_t{2} << (2 * i);  // Gi; length and kind 0: execution
  }
  TRY(arm(debug, Armed::breakpoints));
  stale_ = false;
  return {};
}

Status KvmDebug::arm_step() {
  kvm_guest_debug debug{};
  debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
  return arm(debug, Armed::step);
}

Status KvmDebug::arm(const kvm_guest_debug& debug, Armed armed) {
  TRY(kvm_ioctl(vcpu_fd_, KVM_SET_GUEST_DEBUG, "KVM_SET_GUEST_DEBUG", &debug));
  armed_ = armed;
  return {};
}

}  // namespace dejavm::kvm
