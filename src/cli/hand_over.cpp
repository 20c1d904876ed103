#include "cli/hand_over.h"

#include <algorithm>

namespace dejavm::cli {

using vm::SessionStop;
using Kind = vm::SessionStop::Kind;

namespace {

constexpr const char* kInterrupted = "interrupted on the way to where the replay is, on soft";

}  // namespace

Result<std::unique_ptr<HandOver>> HandOver::create(replay::Replayer& native, const trace::Reader& reader, const Clock& clock,
                                                   const replay::ReplayOptions& options,
                                                   const replay::CheckpointLimits& limits) {
  TRY_ASSIGN(Engine engine, Engine::for_replay("soft", reader.description()));
  // The sandbox gives no executable memory: what this vCPU has, the engine lends again.
  TRY_ASSIGN(vm::GuestMemory nothing, vm::GuestMemory::create(vm::kPageSize, 0));
  TRY(engine.create_vcpu(nothing, reader.description().cpu_model));
  return std::unique_ptr<HandOver>(new HandOver(native, reader, clock, options, limits, std::move(engine)));
}

// ---- Handing over

Status HandOver::make_soft_replay() {
  TRY_ASSIGN(vm::GuestMemory memory, replay::load_memory(reader_, options_.from_keyframe));
  TRY_ASSIGN(auto steps, replay::steps_at_start(reader_, options_.from_keyframe));
  auto made = std::make_unique<SoftReplay>(std::move(memory));
  TRY_ASSIGN(made->vcpu, engine_.create_vcpu(made->memory, reader_.description().cpu_model, steps.value_or(0)));
  TRY_ASSIGN(made->replayer, replay::Replayer::create(reader_, *made->vcpu, made->memory, clock_, options_));
  TRY_ASSIGN(made->timeline, replay::Timeline::create(*made->replayer, reader_, limits_));
  soft_ = std::move(made);
  return {};
}

Result<bool> HandOver::hand_over() {
  if (handed_over_) return true;
  if (refusal_) return tl::make_unexpected(*refusal_);
  const uint64_t interrupts = interrupts_.load();
  if (!soft_) TRY(make_soft_replay());
  timeline_.store(soft_->timeline.get());
  if (interrupts_.load() != interrupts) soft_->timeline->interrupt();
  auto stop = go_where_native_is();
  timeline_.store(nullptr);
  TRY(stop);
  if (stop->kind == Kind::interrupted) return false;
  if (stop->kind == Kind::diverged) {
    refusal_ = divergence_of_soft();
    return tl::make_unexpected(*refusal_);
  }
  timeline_.store(soft_->timeline.get());
  soft_->timeline->breaks() = native_.breaks();
  soft_->timeline->set_breakpoint_test(native_.breakpoint_test());
  TRY(soft_->timeline->set_breakpoints(native_.breakpoints()));
  soft_->replayer->set_until(native_.until());
  handed_over_ = true;
  bool diverged = native_end_ && native_end_->kind == Kind::diverged;
  notice_ += diverged ? fmt::format("dejavm: KVM's replay diverged; the soft engine has it from event {} on\n", last_event())
                      : fmt::format("dejavm: the soft engine has the replay from here on, after event {}\n", last_event());
  return true;
}

/// Stops of kind `position` and `ended` are there. Where native diverged, right behind the last event that was as recorded.
Result<SessionStop> HandOver::go_where_native_is() {
  replay::Timeline& timeline = *soft_->timeline;
  if (native_end_ && native_end_->kind == Kind::ended) return timeline.seek(std::nullopt);
  const replay::Position event{native_.last_event(), 0};
  if (native_end_) return timeline.seek(event);
  // An interrupt that is on its way is complete when its frame is pushed, where that event is.
  TRY_ASSIGN(bool undelivered, native_.vcpu().injection_pending());
  if (undelivered) return timeline.seek(event);
  TRY_ASSIGN(vm::CpuState cpu, native_.vcpu().state());
  TRY_ASSIGN(uint64_t ram, native_.ram_digest());
  return timeline.seek_state(event.event, {cpu, ram});
}

Error HandOver::divergence_of_soft() const {
  const std::vector<replay::Divergence>& all = soft_->replayer->divergences();
  std::string what = "the soft engine diverges from the recording, which KVM did not";
  if (native_end_ && native_end_->kind == Kind::diverged) what = "the soft engine diverges from the recording, too";
  if (!all.empty()) {
    const replay::Divergence& last = all.back();
    what += fmt::format(": event {}, expected {}, got {}", last.event, last.expected, last.actual);
    if (!last.evidence.empty()) what += fmt::format("; class {}: {}", name(last.possible_class), last.evidence);
  }
  return {what, "The replay on KVM goes on, forward only. `dejavm replay FILE -accel soft` shows all of the divergence."};
}

Status HandOver::use_exact_engine() {
  TRY_ASSIGN(bool there, hand_over());
  if (!there) return fail(kInterrupted, "Ask again.");
  return {};
}

// ---- Running

/// What is given to native once may be at user code's addresses, where not every host's KVM stops.
Result<bool> HandOver::native_can_break() const {
  for (vm::GuestVirt address : native_.breakpoints()) {
    TRY_ASSIGN(bool can, native_.vcpu().can_break_at(address));
    if (!can) return false;
  }
  return true;
}

Result<SessionStop> HandOver::resume(vm::ResumeFor what) {
  if (!handed_over_ && !native_end_) {
    bool can = native_.vcpu().capabilities().single_step;
    if (what == vm::ResumeFor::go) {
      TRY_ASSIGN(can, native_can_break());
    }
    if (!can) {
      TRY_ASSIGN(bool there, hand_over());
      if (!there) return SessionStop{.kind = Kind::interrupted};
    }
  }
  TRY_ASSIGN(SessionStop stop, session().resume(what));
  if (!handed_over_ && (stop.kind == Kind::ended || stop.kind == Kind::diverged)) native_end_ = stop;
  return stop;
}

Result<SessionStop> HandOver::reverse(vm::ReverseFor what) {
  TRY_ASSIGN(bool there, hand_over());
  if (!there) return SessionStop{.kind = Kind::interrupted};
  return session().reverse(what);
}

void HandOver::interrupt() {
  ++interrupts_;
  if (vm::Session* timeline = timeline_.load(); timeline != nullptr) return timeline->interrupt();
  native_.interrupt();
}

Status HandOver::divert() {
  TRY(use_exact_engine());
  return session().divert();
}

/// The trace knows more than the last one of a place.
Result<std::optional<vm::SeenAccess>> HandOver::last_access(const vm::AccessFilter& filter) {
  TRY_ASSIGN(auto found, accesses_.last({&filter, 1}, static_cast<uint64_t>(last_event() + 1)));
  return found ? std::optional(found->seen) : std::nullopt;
}

// ---- Breakpoints

Status HandOver::set_breakpoints(const std::vector<vm::GuestVirt>& addresses) {
  if (!handed_over_) {
    const std::vector<vm::GuestVirt> before = native_.breakpoints();
    Status set = native_.set_breakpoints(addresses);
    if (set) return set;
    TRY(native_.set_breakpoints(before));
    TRY(use_exact_engine());
  }
  return session().set_breakpoints(addresses);
}

void HandOver::set_breakpoint_test(BreakpointTest test) { session().set_breakpoint_test(std::move(test)); }

}  // namespace dejavm::cli
