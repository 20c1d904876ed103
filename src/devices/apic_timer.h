// The local APIC's timer. Source: Intel SDM volume 3, section 10.5.4.
#pragma once

#include <cstdint>
#include <functional>

#include "vm/timer_queue.h"

namespace dejavm::devices {

/// Counts down from an initial count, once or again and again, at 1 GHz (as QEMU's) divided by 1 to 128. The count is
/// computed from the time. While it is periodic it calls at most every kShortestNs, whatever the guest programs; the count
/// shows the programmed period.
class ApicTimer {
 public:
  static constexpr uint64_t kShortestNs = 10'000;

  ApicTimer(vm::TimerQueue& timers, std::function<void()> expired);
  ~ApicTimer() { timers_.cancel(armed_); }
  ApicTimer(const ApicTimer&) = delete;
  ApicTimer& operator=(const ApicTimer&) = delete;

  void reset();
  /// Masked: it counts, and calls nobody.
  void set_mode(bool periodic, bool masked);
  /// Starts; 0 stops.
  void set_initial_count(uint32_t count);
  void set_divide(uint32_t configuration);

  uint32_t initial_count() const { return initial_; }
  uint32_t divide() const { return divide_; }
  uint32_t count() const;

 private:
  uint64_t ticks() const { return (timers_.now_ns() - start_ns_) >> shift_; }
  void restart_behind(uint32_t passed);
  void schedule();
  void expire();

  vm::TimerQueue& timers_;
  std::function<void()> expired_;
  vm::TimerQueue::Id armed_ = 0;
  uint64_t start_ns_ = 0;
  uint32_t initial_ = 0;
  uint32_t divide_ = 0;  // as written: bits 0, 1 and 3
  unsigned shift_ = 1;
  bool periodic_ = false;
  bool masked_ = true;
};

}  // namespace dejavm::devices
