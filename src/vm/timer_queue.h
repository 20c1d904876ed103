// The devices' time: a clock in nanoseconds and callbacks at deadlines of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "base/clock.h"

namespace dejavm::vm {

/// Deadlines of devices on the guest's clock, which starts at 0 and stands still while the guest is stopped (stop/start).
/// Callbacks run only inside run_due(), which the session calls at a consistent point: they may touch guest memory.
class TimerQueue {
 public:
  using Id = uint64_t;

  explicit TimerQueue(const Clock& clock) : clock_(clock), origin_(clock.now_ns()) {}

  /// Nanoseconds that the guest has run.
  uint64_t now_ns() const;
  void stop();
  void start();

  /// While one lives, now_ns() stands still from its first call on: what a device does at an access takes no time. (A timer
  /// of a few ticks that is started and then looked at would be over, and never call.)
  class Moment {
   public:
    explicit Moment(TimerQueue& queue) : queue_(queue), outermost_(!std::exchange(queue.holds_, true)) {}
    ~Moment() {
      if (!outermost_) return;
      queue_.holds_ = false;
      queue_.moment_.reset();
    }
    Moment(const Moment&) = delete;
    Moment& operator=(const Moment&) = delete;

   private:
    TimerQueue& queue_;
    bool outermost_;
  };

  /// Calls `callback` once, at or after `deadline_ns`. The id is never 0 and never used again.
  Id arm(uint64_t deadline_ns, std::function<void()> callback);
  /// No effect when it has run or was cancelled.
  void cancel(Id id);

  std::optional<uint64_t> next_deadline_ns() const;
  /// Runs all callbacks with a deadline of at most `now_ns`, in the order of their deadlines, also those that they arm. The
  /// caller says what time it is, so that it can look first at what will run; it is so to the callbacks, too.
  void run_due(uint64_t now_ns);

 private:
  uint64_t time_ns() const { return (stopped_at_ ? *stopped_at_ : clock_.now_ns()) - origin_; }

  const Clock& clock_;
  uint64_t origin_;
  bool holds_ = false;                      // a Moment lives
  mutable std::optional<uint64_t> moment_;  // its time, when somebody has asked
  std::optional<uint64_t> stopped_at_;
  std::map<std::pair<uint64_t, Id>, std::function<void()>> pending_;
  std::map<Id, uint64_t> deadlines_;
  Id last_id_ = 0;
};

}  // namespace dejavm::vm
