// The keyframes of a trace as places that a replay can go on from, without what lies before them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <vector>

#include "replay/replayer.h"

namespace dejavm::replay {

/// Those that say how many steps there were before them: others have no place among the positions. A trace may claim
/// anything: one that cannot be read, or that is out of order, counts as absent. Borrows the reader.
class Keyframes {
 public:
  struct Place {
    size_t index = 0;  ///< in the trace
    Moment moment;
    uint64_t event_steps = 0;  ///< when the last event's instruction had completed
    Position position() const { return {moment.event, moment.total_steps - std::min(moment.total_steps, event_steps)}; }
  };

  /// Those behind `beginning`.
  Keyframes(const trace::Reader& reader, const Moment& beginning);

  /// The last one of those, which are ascending, that `is_early` says yes to; null without any.
  const Place* last(const std::function<bool(const Place&)>& is_early) const;
  /// What a replay is there, but for the memory, which is load_memory()'s.
  Result<ReplayState> state(const Place& place) const;
  /// Forgets one that turned out to be damaged.
  void forget(const Place& place);

  size_t count() const { return places_.size(); }

 private:
  const trace::Reader& reader_;
  std::vector<Place> places_;
};

}  // namespace dejavm::replay
