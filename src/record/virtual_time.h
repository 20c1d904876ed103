// The guest's time on an engine that counts steps: a function of what the guest did, so that a run can be made again.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "vm/vcpu.h"

namespace dejavm::record {

/// A clock that advances with the guest's steps and device accesses, and by what it slept in HLT. Two runs of the same guest
/// with the same inputs read the same times. It is made before the machine and told its vCPU later; until then it stands at
/// 0.
class VirtualTime final : public Clock {
 public:
  /// A CPU of 250 million instructions a second: between what the engine interprets and what it translates, so that waiting
  /// loops take about as long as their guest thinks.
  static constexpr uint64_t kNsPerStep = 4;
  /// In recordings for KVM: what enters a waiting loop is found there by stopping at every turn of the loop, so loops are
  /// kept short.
  static constexpr uint64_t kNsPerPortableStep = 100;
  /// What a port or register access takes on a real machine's bus; guests that poll a timer would else poll for ages.
  static constexpr uint64_t kNsPerAccess = 1000;

  explicit VirtualTime(uint64_t ns_per_step = kNsPerStep) : ns_per_step_(ns_per_step) {}

  /// The vCPU's capabilities().exact_steps is true, and it outlives the last use of the clock.
  void follow(const vm::Vcpu& vcpu) { vcpu_ = &vcpu; }

  uint64_t now_ns() const override { return apart_ns_ + (vcpu_ != nullptr ? vcpu_->steps() * ns_per_step_ : 0); }
  void advance(uint64_t ns) { apart_ns_ += ns; }

  /// The count of steps at which it will be `ns` later than now; UINT64_MAX when that is further than can be counted.
  uint64_t steps_in(uint64_t ns) const {
    uint64_t more = ns / ns_per_step_ + (ns % ns_per_step_ != 0 ? 1 : 0);
    return vcpu_->steps() > UINT64_MAX - more ? UINT64_MAX : vcpu_->steps() + more;
  }

 private:
  const uint64_t ns_per_step_;
  const vm::Vcpu* vcpu_ = nullptr;
  uint64_t apart_ns_ = 0;  // passed while no step was made
};

}  // namespace dejavm::record
