// Where the monitor and QMP get a timeline from.
#pragma once

#include "cli/hand_over.h"
#include "replay/timeline.h"

namespace dejavm::cli {

/// A session is a timeline (a replay on soft), becomes one when somebody wants it (HandOver), or is none (a live guest).
/// Borrows what it knows.
class TimelineSource {
 public:
  TimelineSource(replay::Timeline* timeline = nullptr) : timeline_(timeline) {}
  TimelineSource(HandOver* hand_over) : hand_over_(hand_over) {}

  bool exists() const { return timeline_ != nullptr || hand_over_ != nullptr; }
  /// Null where it is none yet.
  replay::Timeline* now() const { return hand_over_ != nullptr ? hand_over_->timeline() : timeline_; }
  /// Where it exists, it is one from here on.
  Result<replay::Timeline*> get() const {
    if (hand_over_ != nullptr) TRY(hand_over_->use_exact_engine());
    return now();
  }
  /// Of the trace, where it exists.
  replay::AccessIndex& accesses() const { return hand_over_ != nullptr ? hand_over_->accesses() : timeline_->accesses(); }

 private:
  replay::Timeline* timeline_ = nullptr;
  HandOver* hand_over_ = nullptr;
};

}  // namespace dejavm::cli
