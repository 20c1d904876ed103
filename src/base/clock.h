// Time, injected: the real monotonic clock and one that tests set by hand.
#pragma once

#include <atomic>
#include <cstdint>

namespace dejavm {

inline constexpr uint64_t kNsPerSecond = 1'000'000'000;

/// Nanoseconds since an arbitrary start; never goes back.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual uint64_t now_ns() const = 0;
};

/// CLOCK_MONOTONIC.
class MonotonicClock final : public Clock {
 public:
  uint64_t now_ns() const override;
};

/// A clock that stands still until told. Any thread may read it.
class ManualClock final : public Clock {
 public:
  uint64_t now_ns() const override { return now_ns_.load(); }
  void advance(uint64_t ns) { now_ns_ += ns; }

 private:
  std::atomic<uint64_t> now_ns_{0};
};

}  // namespace dejavm
