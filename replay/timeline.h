// Travels through a replay: to any position, forward and backward, and back to the stop before this one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "replay/access_index.h"
#include "replay/checkpoints.h"
#include "replay/keyframes.h"
#include "replay/replayer.h"
#include "vm/session.h"

namespace dejavm::replay {

/// A session over a replayer whose engine counts steps. While the replay runs forward it keeps checkpoints on the way; to go
/// back it goes on from one of them. Going anywhere and back gives the identical state: the position says everything.
///
/// Backward there are the same stops as forward, each before what it tells of: a breakpoint before its instruction, a
/// watchpoint and a device access before the accessing instruction, the memory write of a device before its event. They are
/// found by running forward, from places further and further back, until there is one.
///
/// Far from all that it kept it starts from a keyframe of the trace: what lies between was not replayed then, and none of
/// the digests there compared. Going back there replays it, from the keyframe or checkpoint before.
///
/// In a diversion the guest runs on from changed registers or memory without its recording (diversion.cpp).
///
/// Borrows the replayer, which nobody else resumes, and its trace. One thread, but for interrupt().
class Timeline final : public vm::Session {
 public:
  /// The present position becomes the beginning.
  static Result<std::unique_ptr<Timeline>> create(Replayer& replayer, const trace::Reader& reader,
                                                  const CheckpointLimits& limits = {});
  ~Timeline() override { replayer_.set_pause({}); }

  Result<vm::SessionStop> resume(vm::ResumeFor what) override;
  Result<vm::SessionStop> reverse(vm::ReverseFor what) override;
  std::string why_forward_only() const override { return {}; }
  /// Goes to a position, or without one to the end, past all breakpoints. Stops of kind `position`, `ended` where the
  /// recording ends before it, `diverged` or `interrupted`. A position before the beginning is the beginning.
  Result<vm::SessionStop> seek(const std::optional<Position>& target);

  /// Has the next resume() forward stop at a position, once.
  void set_break(const std::optional<Position>& position) { break_ = position; }

  /// The last write before here to a range of guest physical memory, by the CPU or a device; the position stays.
  struct Write {
    uint64_t address = 0;                      ///< of the first byte that it wrote in the range
    std::optional<vm::GuestVirt> instruction;  ///< none: a device
    Position before;
    uint64_t before_steps = 0;  ///< since the start
  };
  Result<std::optional<Write>> last_write(vm::GuestPhys first, uint64_t length);

  /// What another position has different; the present one stays.
  struct Difference {
    Position there;
    std::string registers;        ///< as vm::difference() has it
    std::vector<uint64_t> pages;  ///< numbers of RAM pages
  };
  Result<Difference> compare_with(const std::optional<Position>& there);

  void interrupt() override { replayer_.interrupt(); }
  Status set_breakpoints(const std::vector<vm::GuestVirt>& addresses) override;
  void set_breakpoint_test(BreakpointTest test) override { replayer_.set_breakpoint_test(std::move(test)); }
  vm::Vcpu& vcpu() override { return replayer_.vcpu(); }
  vm::GuestMemory& memory() override { return replayer_.memory(); }
  const std::vector<vm::DeviceRegion>& devices() const override { return replayer_.devices(); }
  vm::AccessBreaks& breaks() override { return replayer_.breaks(); }
  vm::WatchList& watches() override { return replayer_.watches(); }
  const vm::AccessHistory& history() const override { return replayer_.history(); }
  int64_t last_event() const override { return replayer_.last_event(); }
  std::string why_read_only() const override { return replayer_.why_read_only(); }

  // A diversion is thrown away where the replay is asked for anything but to look around and to run forward; and forward,
  // too, where the general registers, RIP and the flags are what they were when it began, as they are after a debugger has
  // called a function.
  Status divert() override;
  Status rejoin() override;
  bool diverted() const override { return diversion_.has_value(); }

  Result<std::optional<vm::SeenAccess>> last_access(const vm::AccessFilter& filter) override;
  std::optional<uint8_t> device_byte(vm::GuestPhys gpa) override;

  AccessIndex& accesses() { return accesses_; }
  const Replayer& replayer() const { return replayer_; }
  const Checkpoints& checkpoints() const { return *checkpoints_; }
  /// How often it went on from a keyframe instead of replaying what lies before.
  uint64_t keyframe_starts() const { return keyframe_starts_; }
  /// Keeps the present position, so that coming back to it is cheap.
  Status keep_checkpoint();

 private:
  struct Hit {
    vm::SessionStop stop;
    Position before;  // where it is told of
  };
  enum class Patience : uint8_t { interruptible, to_the_end };

  Timeline(Replayer& replayer, const trace::Reader& reader) : replayer_(replayer), accesses_(reader), reader_(reader) {}

  Result<vm::SessionStop> go_to(const std::optional<Position>& target, Patience patience);
  Status start_near(const std::optional<Position>& target);
  const ReplayState* keyframe_near(const std::optional<Position>& target, const Moment& else_from);
  Pause next_pause();
  std::optional<uint64_t> steps_close_to_target() const;
  Result<Pause> pause_on_the_way();

  bool registers_as_recorded();
  uint64_t diverted_answer(const vm::Access& access);
  Result<vm::SessionStop> run_diversion(vm::ResumeFor what);

  Result<vm::SessionStop> begin();
  Result<vm::SessionStop> step_back();
  Result<vm::SessionStop> run_back();
  bool breaks_know_their_places() const;
  Result<std::optional<AccessIndex::Found>> last_break_access();
  Result<vm::SessionStop> go_before(AccessIndex::Found access);
  /// What running back looks for, from `here`.
  struct Search {
    Moment here;
    bool only_cpu_stops = false;               ///< the breaks on accesses have been asked the trace
    std::optional<AccessIndex::Found> access;  ///< what it says: the last one; further back nothing matters
  };
  struct Found {
    std::optional<Hit> last;
    bool interrupted = false;
    bool at_access = false;  ///< it went back to Search::access
  };
  /// The last stop between a count of steps and a position, of those that `here` is not too early for.
  Result<Found> look_between(uint64_t total_steps, const Position& end, const Search& search);
  std::optional<Hit> hit_of(const vm::SessionStop& stop, const Moment& limit) const;

  Replayer& replayer_;
  AccessIndex accesses_;
  const trace::Reader& reader_;
  std::unique_ptr<Checkpoints> checkpoints_;
  std::optional<Keyframes> keyframes_;
  uint64_t keyframe_starts_ = 0;
  std::optional<ReplayState> diversion_;  // where it began; none: the replay is in its recording
  std::optional<Position> break_;
  std::optional<Position> target_;  // of the run that is under way: a checkpoint shortly before it will be wanted
};

}  // namespace dejavm::replay
