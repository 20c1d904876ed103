// What a replay reports when the guest does not do what the recording says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vm/untrapped.h"

namespace dejavm::replay {

/// A first-class result (docs/determinism.md, "Digests and divergence").
struct Divergence {
  enum class Kind : uint8_t {
    access,  ///< other kind of event, address, size, direction or written value, or an event that never comes: replay stops
    state,   ///< a digest differs although the accesses do not
  } kind = Kind::access;
  uint64_t event = 0;  ///< number of the event that differs; for a digest, of the event before it
  std::string expected;
  std::string actual;
  std::string registers;
  std::vector<std::string> recent;        ///< the events before it, oldest first
  std::vector<uint64_t> differing_pages;  ///< RAM pages (state)

  /// What it is, or what may have caused it.
  enum class Class : uint8_t {
    unknown,
    rdtsc,  ///< instructions whose answers are the host's own (vm/untrapped.h) ran since the state was last as recorded
    undefined_flags,  ///< status flags, also saved ones, are the whole difference: proved by the hashes
  } possible_class = Class::unknown;
  std::string evidence;  ///< for that class, or why there is none; empty: nothing is known
};
inline constexpr size_t kDivergenceClasses = 3;

/// "unknown", "rdtsc", "undefined-flags".
const char* name(Divergence::Class possible_class);

/// What ran of these instructions: a clause. `start_steps`: the vCPU's count at the start of the recording, where known.
std::string describe(const vm::UntrappedReads& reads, std::optional<uint64_t> start_steps);

/// Several lines for a person.
std::string describe(const Divergence& divergence);

}  // namespace dejavm::replay
