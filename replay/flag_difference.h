// Whether a replay's state differs from its recording's in nothing but status flags. A digest holds hashes only, so the
// recording's contents are guessed from the replay's: flags are turned round in words that look like a saved RFLAGS until
// the hash is the recording's. A 64-bit hash that is found within a few millions of tries proves the guess.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "vm/cpu_state.h"
#include "vm/guest_memory.h"

namespace dejavm::replay {

/// What a replay is at a point, and what the recording says of it there.
struct StateDifference {
  vm::CpuState cpu;           ///< the replay's
  uint64_t recorded_cpu = 0;  ///< vm::hash() of the recording's
  uint64_t ram_missing = 0;   ///< the RAM digest of the recording less the replay's, modulo 2^64
  /// Pages that differ, with the hashes that they have in the recording: as far as it says so.
  std::vector<std::pair<uint64_t, uint64_t>> recorded_pages;
  /// Pages of which one may be the only one that differs, where those above are not all.
  std::vector<uint64_t> suspects;
};

/// "AF of rflags, AF at 0x2ff8" where these are the whole difference, else empty. `tries`: how many hashes it may cost; less
/// by those afterwards.
std::string find_flag_difference(const StateDifference& difference, const vm::GuestMemory& memory, uint64_t& tries);

}  // namespace dejavm::replay
