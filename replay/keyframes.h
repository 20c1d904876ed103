// The keyframes of a trace as places that a replay can go on from, without what lies before them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "replay/replayer.h"

namespace dejavm::replay {

/// The digest that a trace has at the place of a keyframe, right before it, if there is one.
Result<std::optional<trace::DigestEvent>> digest_at(const trace::Reader& reader, size_t index,
                                                    const trace::Keyframe& keyframe);
/// Damage where a keyframe is not what that digest says.
Status check_keyframe(size_t index, const trace::Keyframe& keyframe, const trace::DigestEvent& digest, uint64_t ram_digest);

/// Those that say how many steps there were before them: others have no place among the positions. A trace may claim
/// anything: one that cannot be read, or that is out of order, counts as absent. Borrows the reader. The first question
/// reads all keyframes but their pages.
class Keyframes {
 public:
  struct Place {
    size_t index = 0;  ///< in the trace
    Moment moment;
    uint64_t event_steps = 0;  ///< when the last event's instruction had completed
    Position position() const { return {moment.event, moment.total_steps - std::min(moment.total_steps, event_steps)}; }
  };

  /// Those behind `beginning`.
  Keyframes(const trace::Reader& reader, const Moment& beginning) : reader_(reader), beginning_(beginning) {}

  /// The last one of those, which are ascending, that `is_early` says yes to; null without any.
  const Place* last(const std::function<bool(const Place&)>& is_early);
  /// What a replay is there. Damage where the digest that the trace has there says otherwise.
  struct Loaded {
    ReplayState state;
    vm::GuestMemory memory;
    std::vector<uint64_t> pages;  ///< of memory, all that may not be zero
  };
  Result<Loaded> load(const Place& place) const;
  /// Forgets one that turned out to be damaged.
  void forget(const Place& place);

 private:
  void read_places();

  const trace::Reader& reader_;
  const Moment beginning_;
  bool read_ = false;
  std::vector<Place> places_;
};

}  // namespace dejavm::replay
