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
  uint64_t now_ns() const { return (stopped_at_ ? *stopped_at_ : clock_.now_ns()) - origin_; }
  void stop();
  void start();

  /// Calls `callback` once, at or after `deadline_ns`. The id is never 0 and never used again.
  Id arm(uint64_t deadline_ns, std::function<void()> callback);
  /// No effect when it has run or was cancelled.
  void cancel(Id id);

  std::optional<uint64_t> next_deadline_ns() const;
  /// Runs all callbacks with a deadline of at most `now_ns`, in the order of their deadlines, also those that they arm. The
  /// caller says what time it is, so that it can look first at what will run.
  void run_due(uint64_t now_ns);

 private:
  const Clock& clock_;
  uint64_t origin_;
  std::optional<uint64_t> stopped_at_;
  std::map<std::pair<uint64_t, Id>, std::function<void()>> pending_;
  std::map<Id, uint64_t> deadlines_;
  Id last_id_ = 0;
};

}  // namespace dejavm::vm
