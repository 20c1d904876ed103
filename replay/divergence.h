// What a replay reports when the guest does not do what the recording says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

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
};

/// Several lines for a person.
std::string describe(const Divergence& divergence);

}  // namespace dejavm::replay
