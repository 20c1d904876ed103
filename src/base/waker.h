// The thread that gets the vCPU out of the guest when something outside wants attention.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"

namespace dejavm {

/// Watches file descriptors and a deadline. When a descriptor is due it raises attention(), which the vCPU thread sees at
/// its next natural exit, as it sees a deadline; if there is none within the grace time, it kicks the vCPU. Natural exits
/// are cheap to replay; kicks are not. attention(), wait() and the setters are for the vCPU's thread; `kick` is called on
/// the waker's thread.
class Waker {
 public:
  /// The grace time of descriptors, and the time between kicks that go unheard.
  static constexpr uint64_t kGraceNs = 20'000'000;

  /// `clock` and what `kick` uses must outlive the waker.
  static Result<std::unique_ptr<Waker>> create(const Clock& clock, std::function<void()> kick);
  ~Waker();
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;

  /// Watches for readability; attention is raised once and again only after rearm().
  void watch(int fd);
  /// Does not watch it any more.
  void unwatch(int fd);
  /// The next moment (of `clock`) that the vCPU's thread wants to be out of the guest for; kicks `grace_ns` after it.
  void set_deadline(std::optional<uint64_t> ns, uint64_t grace_ns = kGraceNs);
  /// Raises attention and kicks at once. Any thread.
  void demand();

  bool attention() const { return attention_.load(std::memory_order_acquire); }
  /// Clears attention and watches all descriptors again.
  void rearm();
  /// Blocks until attention is raised or the deadline has passed.
  void wait();

 private:
  Waker(const Clock& clock, std::function<void()> kick, Fd event);
  void loop();
  void ring();

  const Clock& clock_;
  std::function<void()> kick_;
  Fd event_;  // wakes the thread
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> attention_{false};
  std::vector<int> fds_;
  bool fds_armed_ = true;
  std::optional<uint64_t> deadline_;
  uint64_t deadline_kick_ = 0;  // when the deadline kicks
  std::optional<uint64_t> kick_at_;
  bool quit_ = false;
  std::thread thread_;
};

}  // namespace dejavm
