// Points of a replay (docs/determinism.md, "Consistent points and positions").
#pragma once

#include <compare>
#include <cstdint>

namespace dejavm::replay {

/// A position: `steps` steps after event `event`; (-1, 0) is the start. `from_start`: so many steps after the start, at the
/// first of the positions that have so many; only where the engine counts steps.
struct Position {
  int64_t event = -1;
  uint64_t steps = 0;
  bool from_start = false;
  bool operator==(const Position&) const = default;

  static Position after_start(uint64_t steps) { return {.event = -1, .steps = steps, .from_start = true}; }
};

/// A consistent point that was reached on an engine that counts steps. The greater of two is the later one: events may enter
/// while no step is done, and steps are done while no event enters.
struct Moment {
  uint64_t total_steps = 0;  ///< since the start
  int64_t event = -1;        ///< the last one
  auto operator<=>(const Moment&) const = default;
};

}  // namespace dejavm::replay
