#include "base/clock.h"

#include <ctime>

namespace dejavm {

uint64_t MonotonicClock::now_ns() const {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * kNsPerSecond + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace dejavm
