// Runs a guest on its devices, with or without a recording, for the command line and for debuggers.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/waker.h"
#include "record/instruction_joins.h"
#include "record/rdtsc_patch.h"
#include "record/virtual_time.h"
#include "trace/writer.h"
#include "vm/machine.h"
#include "vm/session.h"
#include "vm/state_tracker.h"

namespace dejavm::record {

struct LiveOptions {
  bool reboot = true;                   ///< false: a reset ends the session (-no-reboot)
  std::optional<uint64_t> max_events;   ///< ends after this many numbered events
  std::optional<uint64_t> max_ns;       ///< ends after this much guest time
  std::optional<uint64_t> keyframe_ns;  ///< a keyframe about this often
  /// The clock of the machine, where it is one of steps; null: it is the session's, real one.
  VirtualTime* virtual_time = nullptr;
  bool portable = false;                 ///< writes no placement that KVM cannot replay, whatever the engine can
  bool patch_rdtsc = false;              ///< makes a Linux kernel's RDTSC events (RdtscPatch); only with a log
  std::vector<vm::HostInput*> inputs{};  ///< borrowed
  int stop_fd = -1;                      ///< becomes readable when the user wants to end (a signalfd)
};

/// The loop around the vCPU: answers accesses, lets time, input and interrupts in at consistent points only, and writes down
/// all that enters. Without a log it does the same and writes nothing. Borrows everything; one thread, but for interrupt().
class LiveSession final : public vm::Session {
 public:
  /// There is no digest before this time and none more often.
  static constexpr uint64_t kDigestEveryNs = 50'000'000;
  /// In virtual time, where what a digest costs must not decide when the next one comes.
  static constexpr uint64_t kDigestEveryVirtualNs = 1'000'000'000;
  /// How long an end waits for the guest's next event: an end between events has to be searched for at replay.
  static constexpr uint64_t kEndGraceNs = 1'000'000'000;
  /// How long something that wants in waits for the guest to return from a function, each time it is tried.
  static constexpr uint64_t kStepOutNs = 3'000'000;
  /// A place that comes up after this time is passed seldom enough for a replay.
  static constexpr uint64_t kSeldomNs = 200'000;
  /// How long it waits at most for user code to enter the kernel, and for the innermost function.
  static constexpr uint64_t kLastWayOutNs = 50'000'000;
  /// The cause of a reset by the CPU's shutdown.
  static constexpr const char* kTripleFault = "triple fault";

  static Result<std::unique_ptr<LiveSession>> create(vm::Machine& machine, vm::Vcpu& vcpu, const vm::CpuModel& model,
                                                     const Clock& clock, trace::Writer* log, LiveOptions options);
  ~LiveSession() override;

  Result<vm::SessionStop> resume(vm::ResumeFor what) override;
  void interrupt() override;
  Status set_breakpoints(const std::vector<vm::GuestVirt>& addresses) override;
  vm::Vcpu& vcpu() override { return vcpu_; }
  vm::GuestMemory& memory() override { return machine_.memory(); }
  const std::vector<vm::DeviceRegion>& devices() const override { return devices_; }
  vm::AccessBreaks& breaks() override { return breaks_; }
  const vm::AccessHistory& history() const override { return history_; }
  int64_t last_event() const override { return static_cast<int64_t>(events_) - 1; }
  std::string why_read_only() const override;

  /// Seals the recording at the current point, or after what the CPU died of. Returns what was written; an empty end without
  /// a recording.
  Result<trace::End> finish(const std::string& reason);

  /// What became of LiveOptions::patch_rdtsc; empty: no kernel was seen.
  const std::string& rdtsc_report() const { return rdtsc_.report(); }

  /// For tests: makes the next run end at once wherever the guest is, as a very late natural exit would.
  void kick_for_test() { waker_->demand(); }

 private:
  LiveSession(vm::Machine& machine, vm::Vcpu& vcpu, const vm::CpuModel& model, const Clock& clock, trace::Writer* log,
              LiveOptions options);

  struct Input {
    vm::HostInput* source = nullptr;
    int watched = -1;    // by the waker; -1 while what waits has to wait for room
    bool ready = false;  // as input_ready() found it
  };

  // Exits.
  Status handle(const vm::Exit& exit);
  uint64_t access_device(const vm::Access& access);
  Status handle_access(const vm::DeviceAccess& exit, bool certain);
  Status handle_msr(const vm::MsrAccess& exit);
  Status complete_instruction();
  Status patch_rdtsc();
  Status check_breakpoint();

  // Consistent points.
  bool needs_attention();
  Status service(bool hold_interrupts);
  Result<bool> something_enters();
  Status leave_busy_place(bool hold_interrupts);
  Status step_out();
  bool is_busy_place() const;
  enum class Left { here, late, no_way };  ///< stopped on the way out; by an exit or a kick before; nothing ran
  Result<Left> run_out(std::optional<vm::GuestVirt> address, vm::WayOut way, uint64_t limit_ns);
  Status note_point();
  Status let_devices_work();
  Status log_map_changes();
  Status handle_power();
  Status mark_place();
  Status inject();
  bool digest_due(uint64_t now) const;
  Status digest_if_due();
  bool wants_end(uint64_t now) const;
  void check_limits();
  void arm_deadline();
  void sleep_until_deadline();
  bool input_ready();
  bool input_has_room() const;
  void feed_inputs();
  bool follows_wall_clock() const;

  // The log.
  Status append(trace::EventBody body);
  Status log_write(uint64_t offset, ByteSpan bytes);
  Result<trace::Where> here();
  void note_event_steps() { event_steps_ = vcpu_.steps() + (in_instruction_ ? 1 : 0); }
  Result<std::shared_ptr<const trace::MatchedState>> capture();
  uint64_t time_us() { return machine_.timers().now_ns() / 1000; }
  void stop_with(vm::SessionStop stop);
  tl::unexpected<Error> engine_failed(const Error& error);  // it cannot run the guest any more
  void end_with(std::string reason, uint8_t exit_status = 0);

  vm::Machine& machine_;
  vm::Vcpu& vcpu_;
  const vm::CpuModel& model_;
  const Clock& clock_;
  trace::Writer* log_;
  LiveOptions options_;
  const bool counts_steps_;  // places between events are written as counts of steps
  std::unique_ptr<Waker> waker_;
  InstructionJoins joins_;
  std::optional<vm::StateTracker> tracker_;  // while recording
  vm::AccessBreaks breaks_;
  vm::AccessHistory history_;
  std::vector<vm::DeviceRegion> devices_;
  std::vector<vm::GuestVirt> breakpoints_;
  std::vector<Input> inputs_;
  RdtscPatch rdtsc_;

  uint64_t events_ = 0;          // numbered so far
  uint64_t event_steps_ = 0;     // the vCPU's count of steps when the last numbered event's instruction completes
  bool in_instruction_ = false;  // the last exit's instruction is not known to be complete
  bool ran_ = false;             // instructions ran, or were completed, since resume()
  bool moved_ = false;           // instructions ran since the last numbered event
  bool halted_ = false;
  bool dead_ = false;  // in shutdown
  bool window_requested_ = false;
  bool window_since_event_ = false;  // the request has stood since the last numbered event
  bool at_exact_window_ = false;
  bool kicked_ = false;                                  // the last exit was a kick: the guest may be anywhere
  bool at_point_ = false;                                // a consistent point: something may enter
  std::shared_ptr<const trace::MatchedState> point_;     // of the asynchronous point we stand at, when something may enter
  std::optional<vm::GuestMemory::ObserverId> observer_;  // while recording
  vm::GuestMemory::ObserverId watch_observer_ = 0;       // stops at what devices write
  Status log_status_;                                    // of what observers logged
  std::optional<vm::PowerEvent> power_;
  std::optional<vm::SessionStop> stop_;
  std::optional<vm::SessionStop> ended_;
  std::optional<Error> engine_error_;  // the engine cannot run the guest any more
  std::atomic<bool> interrupt_wanted_{false};
  std::string ending_;                       // why the run is to end at the next boundary; empty: it is not
  uint64_t armed_deadline_ns_ = UINT64_MAX;  // what the waker was told, in guest time
  uint64_t point_cost_ns_ = 0;               // what it takes to write down where a kick met the guest, about
  uint64_t end_at_latest_ns_ = 0;            // and there at the latest, wherever the guest is
  uint64_t map_generation_ = 0;
  uint64_t bus_generation_ = 0;
  uint64_t next_digest_ns_ = 0;
  uint64_t next_keyframe_ns_ = 0;
};

}  // namespace dejavm::record
