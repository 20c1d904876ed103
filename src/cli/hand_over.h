// A replay on two engines: forward at the host's speed, and on soft for all that only an engine can do which counts steps.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cli/engine.h"
#include "replay/timeline.h"
#include "trace/reader.h"
#include "vm/session.h"

namespace dejavm::cli {

/// A replay on soft with all that it borrows but the trace, in the order of their lives.
struct SoftReplay {
  explicit SoftReplay(vm::GuestMemory ram) : memory(std::move(ram)) {}

  vm::GuestMemory memory;
  std::unique_ptr<vm::Vcpu> vcpu;
  std::unique_ptr<replay::Replayer> replayer;
  std::unique_ptr<replay::Timeline> timeline;
};

/// Runs a replay on an engine that does not count steps, until something is asked for that wants one that does: to go back
/// or to a count of steps, a diversion, a watchpoint, more breakpoints than the engine has. Then a second replay, on soft,
/// goes to the same position (replay::Timeline::seek_state()) and is the session from then on; breaks and breakpoints come
/// along. One way. The second replay is made when it is wanted first, in the sandbox, and costs nothing before.
///
/// Where soft does not come by that position, because it diverges or is interrupted, the session stays what it was.
///
/// Borrows the replayer, the trace and the clock. One thread, but for interrupt().
class HandOver final : public vm::Session {
 public:
  /// `native` and its trace are not at an end; `options` and `limits` are for the replay on soft. Before the sandbox.
  static Result<std::unique_ptr<HandOver>> create(replay::Replayer& native, const trace::Reader& reader, const Clock& clock,
                                                  const replay::ReplayOptions& options,
                                                  const replay::CheckpointLimits& limits);

  /// Null until it was handed over.
  replay::Timeline* timeline() const { return handed_over_ ? soft_->timeline.get() : nullptr; }
  /// The one that is the session now.
  replay::Replayer& replayer() const { return handed_over_ ? *soft_->replayer : native_; }
  replay::AccessIndex& accesses() { return accesses_; }
  /// False: interrupted, and nothing changed.
  Result<bool> hand_over();

  Result<vm::SessionStop> resume(vm::ResumeFor what) override;
  Result<vm::SessionStop> reverse(vm::ReverseFor what) override;
  std::string why_forward_only() const override { return {}; }
  void interrupt() override;
  Status set_breakpoints(const std::vector<vm::GuestVirt>& addresses) override;
  void set_breakpoint_test(BreakpointTest test) override;

  vm::Vcpu& vcpu() override { return session().vcpu(); }
  vm::GuestMemory& memory() override { return session().memory(); }
  const std::vector<vm::DeviceRegion>& devices() const override { return session().devices(); }
  vm::AccessBreaks& breaks() override { return session().breaks(); }
  vm::WatchList& watches() override { return session().watches(); }
  const vm::AccessHistory& history() const override { return session().history(); }
  int64_t last_event() const override { return session().last_event(); }
  Result<std::optional<vm::SeenAccess>> last_access(const vm::AccessFilter& filter) override;
  std::optional<uint8_t> device_byte(vm::GuestPhys gpa) override { return session().device_byte(gpa); }
  std::string why_read_only() const override { return {}; }
  Status divert() override;
  Status rejoin() override { return session().rejoin(); }
  bool diverted() const override { return session().diverted(); }
  Status use_exact_engine() override;
  std::string take_notice() override { return std::exchange(notice_, {}); }

 private:
  HandOver(replay::Replayer& native, const trace::Reader& reader, const Clock& clock, replay::ReplayOptions options,
           const replay::CheckpointLimits& limits, Engine engine)
      : native_(native),
        reader_(reader),
        clock_(clock),
        options_(options),
        limits_(limits),
        engine_(std::move(engine)),
        accesses_(reader) {}

  vm::Session& session() const {
    return handed_over_ ? static_cast<vm::Session&>(*soft_->timeline) : static_cast<vm::Session&>(native_);
  }
  Status make_soft_replay();
  Result<vm::SessionStop> go_where_native_is();
  Result<bool> native_can_break() const;
  Error divergence_of_soft() const;

  replay::Replayer& native_;
  const trace::Reader& reader_;
  const Clock& clock_;
  const replay::ReplayOptions options_;
  const replay::CheckpointLimits limits_;
  const Engine engine_;
  replay::AccessIndex accesses_;
  std::unique_ptr<SoftReplay> soft_;
  bool handed_over_ = false;
  std::optional<vm::SessionStop> native_end_;  // where native ended, or diverged
  std::optional<Error> refusal_;               // soft diverges: it will not do otherwise the next time
  std::string notice_;

  // What interrupt() touches: the timeline, once there is one, for it runs on the way to where native is.
  std::atomic<vm::Session*> timeline_{nullptr};
  std::atomic<uint64_t> interrupts_{0};
};

}  // namespace dejavm::cli
