// Replays a trace: a vCPU, RAM and the events. No device exists here.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/waker.h"
#include "replay/divergence.h"
#include "replay/flag_difference.h"
#include "replay/position.h"
#include "trace/reader.h"
#include "vm/session.h"
#include "vm/state_tracker.h"
#include "vm/untrapped.h"

namespace dejavm::replay {

/// All that a replay is at a consistent point but the guest's memory: what a checkpoint keeps. Counts of steps are the
/// vCPU's.
struct ReplayState {
  Moment moment;
  uint64_t next_event = 0;  ///< number of the next numbered event
  vm::CpuState cpu;
  std::vector<vm::MemoryRange> memory;
  std::vector<vm::DeviceRegion> devices;
  uint64_t steps = 0, event_steps = 0;
  uint64_t last_time_us = 0;
  int64_t agreed_event = -1;           ///< after this one the state was last known to be the recording's
  vm::UntrappedReads untrapped_reads;  ///< since then
};

/// Where a resume() looks up, at the first consistent point at or behind either of these, and what it does there: it returns
/// where the next such point is.
struct Pause {
  uint64_t total_steps = UINT64_MAX;
  int64_t event = INT64_MAX;
  std::function<Result<Pause>()> act;
};

struct ReplayOptions {
  bool keep_going = false;        ///< a state divergence does not stop the replay
  std::optional<Position> until;  ///< stop there
  std::optional<size_t> from_keyframe;
  /// An event that has not come after this time, plus a multiple of what it took when it was recorded, never comes; after
  /// twenty times that where the guest keeps coming by its place: a stop there can take a thousand times a loop's turn.
  uint64_t patience_ns = 30'000'000'000;
};

/// Guest memory of the trace's sizes with its initial contents and map, or those of a keyframe. A map that cannot be is
/// damage.
Result<vm::GuestMemory> load_memory(const trace::Reader& reader, std::optional<size_t> from_keyframe = std::nullopt);

/// What the vCPU of a replay counts steps on from: 0 at the start. None where a keyframe does not say it; then a guest that
/// reads RDTSC on soft sees other values than it was recorded with.
Result<std::optional<uint64_t>> steps_at_start(const trace::Reader& reader, std::optional<size_t> from_keyframe);

/// Feeds a vCPU what a trace says and checks all that it does. Borrows everything; one thread, but for interrupt().
/// Invariant: an event is taken from the cursor only when it has been applied or has matched.
class Replayer final : public vm::Session {
 public:
  /// `memory` comes from load_memory(), and a vCPU that counts steps was made with steps_at_start(); sets its state.
  static Result<std::unique_ptr<Replayer>> create(const trace::Reader& reader, vm::Vcpu& vcpu, vm::GuestMemory& memory,
                                                  const Clock& clock, ReplayOptions options);

  Result<vm::SessionStop> resume(vm::ResumeFor what) override;
  void interrupt() override;
  Status set_breakpoints(const std::vector<vm::GuestVirt>& addresses) override;
  vm::Vcpu& vcpu() override { return vcpu_; }
  vm::GuestMemory& memory() override { return memory_; }
  const std::vector<vm::DeviceRegion>& devices() const override { return devices_; }
  vm::AccessBreaks& breaks() override { return breaks_; }
  const vm::AccessHistory& history() const override { return history_; }
  int64_t last_event() const override { return static_cast<int64_t>(cursor_.next_number()) - 1; }
  std::string why_read_only() const override { return "a replay repeats its recording and cannot be changed"; }

  /// Runs to a position (at or after the current one) instead of to the end.
  void set_until(std::optional<Position> until) { options_.until = until; }
  const std::optional<Position>& until() const { return options_.until; }
  /// Steps since the start, where the engine counts them.
  uint64_t total_steps() const { return vcpu_.steps() - start_steps_; }
  /// False where it began at a keyframe that does not say how many steps were before it: counts are from there on.
  bool counts_from_start() const { return counts_from_start_; }
  /// Where the engine counts steps.
  Moment moment() const { return {total_steps(), last_event()}; }
  Position position() const { return {last_event(), steps()}; }
  /// The last position before the last event.
  Position before_last_event() const { return {last_event() - 1, steps_before_event_}; }
  /// True right behind an interrupt or NMI, its frame pushed or not: no instruction ran since.
  bool just_interrupted() const { return interrupted_at_ == std::optional(moment()); }

  const std::vector<vm::GuestVirt>& breakpoints() const { return user_breakpoints_; }

  // What a timeline does with the replay (timeline.h); only where the engine counts steps.

  /// Whether it runs past breakpoints, watchpoints and breaks on device accesses as if there were none.
  Status set_quiet(bool quiet);
  void set_pause(Pause pause) { pause_ = std::move(pause); }
  /// Has the next resume() stop at a breakpoint on the instruction that it begins with.
  void stop_where_it_is(bool wanted) { look_at_start_ = wanted; }
  /// The state, at a consistent point: in Pause::act, or where resume() stopped at a position.
  Result<ReplayState> capture();
  /// Goes on from a state of this replay, earlier or later. The guest's memory has its contents already.
  Status restore(const ReplayState& state);
  /// Runs the guest without its recording: `answer` says what it reads from devices, what it writes there is lost, nothing
  /// enters. Stops at breakpoints, watchpoints and breaks on accesses, where it was interrupted, and where the guest would
  /// wait for ever, with a reason. The position means nothing until restore().
  using DeviceAnswer = std::function<uint64_t(const vm::Access&)>;
  Result<vm::SessionStop> run_diverted(vm::ResumeFor what, const DeviceAnswer& answer);
  vm::StateTracker& tracker() { return *tracker_; }
  /// Whether this consistent point has that whole state, but for RF, which comes and goes with breakpoints.
  Result<bool> matches(const trace::MatchedState& state);
  /// vm::Vcpu::await() for as long as no event's own state is looked for. Borrowed.
  void await(const vm::CpuState* state) {
    awaited_ = state;
    vcpu_.await(state);
  }
  /// Steps since the last event; on an engine that does not count them, as far as they were single steps.
  uint64_t steps() const;

  /// True once the end of the trace was reached, with or without divergences before.
  bool finished() const { return finished_; }
  const std::vector<Divergence>& divergences() const { return divergences_; }
  uint64_t divergence_count() const { return divergence_count_; }
  uint64_t divergence_count(Divergence::Class of) const { return class_counts_[static_cast<size_t>(of)]; }
  /// The digest of RAM as it is now. At a stop.
  Result<uint64_t> ram_digest() { return tracker_->refresh(); }

 private:
  Replayer(const trace::Reader& reader, vm::Vcpu& vcpu, vm::GuestMemory& memory, const Clock& clock, ReplayOptions options);

  Status advance(bool stepping);
  Status finish(bool stepping);
  bool position_reached();

  Status run_guest(bool stepping);
  Result<vm::Exit> run_watched(vm::RunMode mode);
  Status check_exit(const vm::Exit& exit);
  Status check_patience();
  Status check_breakpoint();
  bool breaks_at(vm::GuestVirt at) const;
  Status check_access(const vm::DeviceAccess& exit);
  Status check_msr(const vm::MsrAccess& exit);
  Status complete_instruction();
  Status settle();
  Status pause_here();
  bool pause_due() const;

  Status apply(const trace::Event& event);
  Status apply_interrupt(uint8_t vector);
  Status apply_nmi();
  Status compare_digest(const trace::DigestEvent& digest);
  Status compare_end(const trace::End& end);
  Status take();

  Result<bool> at_place(const trace::Where& where);
  Status approach(const trace::Where& where, bool stepping);
  bool limit_steps(std::optional<uint64_t> steps);
  Status arm_breakpoints(const vm::GuestVirt* extra);

  /// Records the divergence; access divergences stop for good.
  Status diverge(Divergence::Kind kind, std::string expected, std::string actual,
                 const StateDifference* difference = nullptr);
  /// The state that was found is not the one that was recorded; `ram` is the digest of the former.
  Status diverge_in_state(const StateDifference& difference, uint64_t ram);
  void note_agreement();
  void classify(Divergence& report, const StateDifference* difference);
  std::string expectation();
  std::vector<std::string> recent_events();
  void stop_with(vm::SessionStop stop);
  uint64_t patience();
  void watch_for_silence();

  const trace::Reader& reader_;
  vm::Vcpu& vcpu_;
  vm::GuestMemory& memory_;
  const Clock& clock_;
  ReplayOptions options_;
  std::unique_ptr<Waker> waker_;
  trace::EventCursor cursor_;
  std::optional<vm::StateTracker> tracker_;
  vm::AccessBreaks breaks_;
  vm::AccessHistory history_;
  std::vector<vm::DeviceRegion> devices_;
  std::vector<vm::GuestVirt> user_breakpoints_;

  const trace::Event* next_ = nullptr;  // what cursor_ will give; null at the end
  bool in_instruction_ = false;
  bool ran_ = false;  // instructions ran, or were completed, since resume()
  bool look_at_start_ = false;
  const vm::CpuState* awaited_ = nullptr;
  bool quiet_ = false;
  Pause pause_;
  uint64_t steps_ = 0;  // single steps since the last numbered event
  bool counts_from_start_ = false;
  uint64_t start_steps_ = 0;              // the vCPU's count of steps at the start
  uint64_t event_steps_ = 0;              // the vCPU's count of steps when that event's instruction completes
  uint64_t steps_before_event_ = 0;       // steps between the last event and the one before it
  std::optional<Moment> interrupted_at_;  // the last interrupt or NMI
  uint64_t last_time_us_ = 0;
  uint64_t give_up_at_ns_ = 0;
  uint64_t came_by_at_ns_ = 0;  // the place that it looks for, last
  uint64_t look_up_at_ns_ = 0;  // when the guest is left next to see whether it is time to give up; 0: not arranged
  bool finished_ = false;
  std::vector<Divergence> divergences_;  // at most kMaxReports are kept
  uint64_t divergence_count_ = 0;
  std::array<uint64_t, kDivergenceClasses> class_counts_{};
  uint64_t tries_left_ = uint64_t{1} << 22;  // find_flag_difference(), of all divergences: some seconds
  int64_t agreed_event_ = -1;  // the state after it was the recording's; the vCPU's untrapped reads are those since then
  std::optional<uint64_t> seen_through_;  // the events up to here came by before restore()
  std::optional<vm::SessionStop> stop_;
  std::optional<vm::SessionStop> ended_;
  std::atomic<bool> interrupt_wanted_{false};
};

}  // namespace dejavm::replay
