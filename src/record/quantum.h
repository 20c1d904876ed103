// How long a guest may run on while something waits for it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/waker.h"

namespace dejavm::record {

inline constexpr uint64_t kShortestQuantumNs = 1'000'000;
/// The quantum is at least so many times what a kick costs.
inline constexpr uint64_t kKickShare = 20;

/// The quantum of a deadline that is `ahead_ns` away when it becomes the next: half of that. So a timer that goes on while
/// its tick waits, and merges what comes meanwhile, loses none: at a steady rate a tick waits a third of the period. Between
/// 1 and 20 ms (Waker::kGraceNs); longer within these bounds where writing down a place takes `cost_ns`.
constexpr uint64_t quantum_ns(uint64_t ahead_ns, uint64_t cost_ns) {
  constexpr uint64_t kLongest = Waker::kGraceNs;
  uint64_t affordable = cost_ns >= kLongest / kKickShare ? kLongest : cost_ns * kKickShare;
  return std::clamp(std::max(ahead_ns / 2, affordable), kShortestQuantumNs, kLongest);
}

}  // namespace dejavm::record
