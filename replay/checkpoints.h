// Checkpoints of a replay in memory: from each the replay goes on as it did the first time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "replay/page_versions.h"
#include "replay/replayer.h"

namespace dejavm::replay {

/// What a replay to a moment costs, in steps: an event costs about as much as kStepsPerEvent of them.
uint64_t work(const Moment& moment);
inline constexpr uint64_t kStepsPerEvent = 1000;

/// An eighth of the memory that this host has available (Linux, Documentation/filesystems/proc.rst, MemAvailable), within
/// 64 MiB and 8 GiB; 1 GiB where it does not say. Opens a file: not for a process in its sandbox.
uint64_t memory_budget();

struct CheckpointLimits {
  uint64_t memory = memory_budget();  ///< bytes of pages, beside those of the first checkpoint; a few are always kept
  uint64_t spacing = 4'000'000;       ///< work between two, as long as the budget has room for all
  /// Work that must be saved for a keyframe of the trace to be loaded: it costs about as long as that.
  uint64_t keyframe_gain = 64'000'000;
};

/// Keeps, of the pages that changed between one checkpoint and the next, what they held. Borrows the replayer. Where the
/// budget is used up those go that are close together and far from where the replay is; the first one stays.
class Checkpoints {
 public:
  /// Where the replay is becomes the first checkpoint.
  static Result<std::unique_ptr<Checkpoints>> create(Replayer& replayer, const CheckpointLimits& limits);

  /// Keeps where the replay is, a consistent point.
  Status keep();
  /// Makes a state that the replay has elsewhere a checkpoint: one of a moment that has none. `memory` is all it has there.
  const ReplayState& add(ReplayState state, vm::GuestMemory& memory);
  /// The last one of those, which are ascending, that `is_early` says yes to; null without any.
  const ReplayState* last(const std::function<bool(const ReplayState&)>& is_early) const;
  /// Has the replay go on from one of these.
  Status go_to(const ReplayState& state);

  const CheckpointLimits& limits() const { return limits_; }
  size_t count() const { return points_.size(); }
  uint64_t bytes() const { return versions_.bytes(); }
  const ReplayState& first() const { return points_.front()->state; }

 private:
  struct Point {
    ReplayState state;
    std::vector<uint64_t> pages;  // that have a version of this moment
  };

  Checkpoints(Replayer& replayer, const CheckpointLimits& limits) : replayer_(replayer), limits_(limits) {}
  Status collect();
  Status keep_first();
  using PageAt = std::function<ByteSpan(uint64_t)>;
  const ReplayState& insert(ReplayState state, const std::vector<uint64_t>& pages, const PageAt& contents);
  void bring_back(uint64_t page, const Moment& when);
  void thin_out();
  void remove(size_t index);
  size_t index_of(const Moment& moment) const;

  Replayer& replayer_;
  const CheckpointLimits limits_;
  PageVersions versions_;
  std::vector<std::unique_ptr<Point>> points_;  // ascending
  Moment synced_;                               // memory is what it was at this checkpoint, but for
  std::vector<uint64_t> since_;  // the pages that may have changed since then, and those the tracker still has
  uint64_t first_bytes_ = 0;
};

}  // namespace dejavm::replay
