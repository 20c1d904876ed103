// Where a Replayer is, and what a timeline does with that: pauses on the way, the state at a point, another state.
#include <algorithm>

#include "replay/replayer.h"

namespace dejavm::replay {

// ---- Where it is

bool Replayer::position_reached() {
  if (!options_.until) return false;
  const Position& until = *options_.until;
  if (until.from_start) return total_steps() >= until.steps;
  return last_event() > until.event || (last_event() == until.event && steps() >= until.steps);
}

uint64_t Replayer::steps() const {
  if (!vcpu_.capabilities().exact_steps) return steps_;
  return vcpu_.steps() - std::min(vcpu_.steps(), event_steps_);  // one less than none while an access is not complete
}

/// Has free runs end at a count of steps after the last event, and at the position to stop at if that is nearer. False when
/// the engine cannot, and has to be stepped to where it must stop.
bool Replayer::limit_steps(std::optional<uint64_t> steps) {
  bool counted = options_.until && options_.until->from_start;
  bool here = options_.until && !counted && last_event() == options_.until->event;
  if (!vcpu_.capabilities().exact_steps) return !here && !steps;
  auto after = [](uint64_t base, uint64_t more) { return more > UINT64_MAX - base ? UINT64_MAX : base + more; };
  uint64_t limit = after(event_steps_, steps.value_or(UINT64_MAX));
  if (here) limit = std::min(limit, after(event_steps_, options_.until->steps));
  if (counted) limit = std::min(limit, after(start_steps_, options_.until->steps));
  limit = std::min(limit, after(start_steps_, pause_.total_steps));
  vcpu_.set_step_limit(limit);
  return true;
}

// ---- For a timeline

Status Replayer::set_quiet(bool quiet) {
  if (quiet == quiet_) return {};
  quiet_ = quiet;
  TRY(arm_breakpoints(nullptr));
  return watches().arm(vcpu_, !quiet);
}

bool Replayer::pause_due() const {
  return pause_.act && (last_event() >= pause_.event || total_steps() >= pause_.total_steps);
}

/// A stop on the way to the consistent point comes first: the pause stays due.
Status Replayer::pause_here() {
  TRY(settle());
  if (stop_) return {};
  TRY_ASSIGN(pause_, pause_.act());
  return {};
}

/// Completes the instruction and, where an interrupt is on its way, pushes its frame: then the interrupt's event is
/// complete. What an engine that does not count steps is to deliver stays there for the next run.
Status Replayer::settle() {
  TRY(complete_instruction());
  while (!stop_ && vcpu_.capabilities().exact_steps) {
    TRY_ASSIGN(bool undelivered, vcpu_.injection_pending());
    if (!undelivered) return {};
    ran_ = true;
    TRY_ASSIGN(vm::Exit exit, vcpu_.run(vm::RunMode::complete));
    TRY(check_exit(exit));
  }
  return {};
}

Result<ReplayState> Replayer::capture() {
  TRY_ASSIGN(vm::CpuState cpu, vcpu_.state());
  const vm::UntrappedReads* reads = vcpu_.untrapped_reads();
  return ReplayState{.moment = moment(),
                     .next_event = cursor_.next_number(),
                     .cpu = cpu,
                     .memory = memory_.map(),
                     .devices = devices_,
                     .steps = vcpu_.steps(),
                     .event_steps = event_steps_,
                     .last_time_us = last_time_us_,
                     .agreed_event = agreed_event_,
                     .untrapped_reads = reads != nullptr ? *reads : vm::UntrappedReads{}};
}

Status Replayer::restore(const ReplayState& state) {
  seen_through_ = std::max(seen_through_.value_or(0), cursor_.next_number());
  TRY(cursor_.seek(state.next_event));
  if (memory_.map() != state.memory) TRY(memory_.set_map(state.memory));
  devices_ = state.devices;
  TRY(vcpu_.set_state(state.cpu));
  vcpu_.set_steps(state.steps);
  vcpu_.set_untrapped_reads(state.untrapped_reads);
  agreed_event_ = state.agreed_event;
  event_steps_ = state.event_steps;
  last_time_us_ = state.last_time_us;
  steps_ = 0;
  in_instruction_ = finished_ = false;
  interrupted_at_.reset();
  stop_.reset();
  ended_.reset();
  TRY_ASSIGN(next_, cursor_.peek());
  return {};
}

}  // namespace dejavm::replay
