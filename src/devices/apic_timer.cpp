#include "devices/apic_timer.h"

#include <algorithm>
#include <utility>

namespace dejavm::devices {

ApicTimer::ApicTimer(vm::TimerQueue& timers, std::function<void()> expired)
    : timers_(timers), expired_(std::move(expired)) {}

void ApicTimer::reset() {
  timers_.cancel(std::exchange(armed_, 0));
  initial_ = divide_ = 0;
  shift_ = 1;
  periodic_ = false;
  masked_ = true;
}

void ApicTimer::set_mode(bool periodic, bool masked) {
  if (periodic == periodic_ && masked == masked_) return;
  // What is left of the count goes on in the other mode.
  uint32_t passed = initial_ - count();
  periodic_ = periodic;
  masked_ = masked;
  restart_behind(passed);
}

void ApicTimer::set_initial_count(uint32_t count) {
  initial_ = count;
  start_ns_ = timers_.now_ns();
  schedule();
}

void ApicTimer::set_divide(uint32_t configuration) {
  uint32_t passed = initial_ - count();
  divide_ = configuration & 0xb;
  unsigned code = (divide_ & 3) | (divide_ >> 1 & 4);  // 0 divides by 2, 6 by 128, 7 by 1
  shift_ = (code + 1) & 7;
  restart_behind(passed);
}

uint32_t ApicTimer::count() const {
  if (initial_ == 0) return 0;
  uint64_t passed = ticks();
  if (periodic_) return initial_ - static_cast<uint32_t>(passed % initial_);
  return passed >= initial_ ? 0 : initial_ - static_cast<uint32_t>(passed);
}

void ApicTimer::restart_behind(uint32_t passed) {
  start_ns_ = timers_.now_ns() - (uint64_t{passed} << shift_);
  schedule();
}

void ApicTimer::schedule() {
  timers_.cancel(std::exchange(armed_, 0));
  if (initial_ == 0 || masked_) return;
  uint64_t passed = ticks();
  if (!periodic_ && passed >= initial_) return;
  uint64_t rounds = periodic_ ? passed / initial_ + 1 : 1;
  uint64_t due = start_ns_ + ((rounds * initial_) << shift_);
  if (periodic_) due = std::max(due, timers_.now_ns() + kShortestNs);
  armed_ = timers_.arm(due, [this] { expire(); });
}

void ApicTimer::expire() {
  armed_ = 0;
  if (periodic_) schedule();
  expired_();
}

}  // namespace dejavm::devices
