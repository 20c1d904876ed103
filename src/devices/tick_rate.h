// Exact conversion between nanoseconds and the ticks of a crystal.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace dejavm::devices {

/// A frequency in hertz. Conversions are pure functions of the time, so that no rounding error adds up.
class TickRate {
 public:
  constexpr explicit TickRate(uint64_t hz) : hz_(hz) {}

  /// Whole ticks that have passed at `ns`.
  constexpr uint64_t ticks(uint64_t ns) const { return static_cast<uint64_t>(Wide{ns} * hz_ / kNsPerSecond); }
  /// The first nanosecond at which `ticks` ticks have passed.
  constexpr uint64_t ns(uint64_t ticks) const { return static_cast<uint64_t>((Wide{ticks} * kNsPerSecond + hz_ - 1) / hz_); }

 private:
  __extension__ using Wide = unsigned __int128;
  uint64_t hz_;
};

}  // namespace dejavm::devices
