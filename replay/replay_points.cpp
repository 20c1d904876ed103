// The consistent-point half of Replayer: what enters the guest, where, and what is compared there.
#include <algorithm>

#include "base/overloaded.h"
#include "replay/replayer.h"
#include "trace/event_text.h"
#include "vm/instruction.h"

namespace dejavm::replay {

using vm::SessionStop;

namespace {

constexpr uint64_t kResumeFlag = 1u << 16;  // RF: set by the host's breakpoints, never by a matched guest state of its own

}  // namespace

Status Replayer::apply(const trace::Event& event) {
  // What a trace claims and no guest can have is damage of the trace.
  auto claimed = [&](Status status) -> Status {
    if (status) return status;
    return fail_damaged(fmt::format("event {} ({}) is damaged: {}", cursor_.next_number(), trace::kind_name(event.body),
                                    status.error().what),
                        "The events before it can be replayed (--until).");
  };
  TRY(std::visit(Overloaded{
                     [&](const trace::InterruptEvent& e) { return apply_interrupt(e.vector); },
                     [&](const trace::NmiEvent&) { return apply_nmi(); },
                     [&](const trace::MemoryWriteEvent& e) -> Status {
                       Status written = memory_.write_backing(e.offset, e.bytes, vm::Writer::replay);
                       auto hit = written && !quiet_ ? device_hit(e.offset, e.bytes.size()) : std::nullopt;
                       if (hit) stop_with({.kind = SessionStop::Kind::watch, .watch = *hit});
                       return claimed(written);
                     },
                     [&](const trace::MemoryMapEvent& e) {
                       devices_ = e.devices;
                       return claimed(memory_.set_map(e.memory));
                     },
                     [&](const trace::CpuStateEvent& e) { return vcpu_.set_state(*e.cpu); },
                     [&](const trace::ResetEvent&) { return vcpu_.set_state(vm::reset_state()); },
                     [](const auto&) -> Status { return {}; },
                 },
                 event.body));
  if (ended_) return {};
  return take();
}

Status Replayer::apply_interrupt(uint8_t vector) {
  TRY_ASSIGN(bool open, vcpu_.can_interrupt());
  interrupted_at_ = Moment{total_steps(), last_event() + 1};
  if (open) return vcpu_.interrupt(vector);
  return diverge(Divergence::Kind::access, expectation(),
                 "the guest cannot take an interrupt here (IF=0, or right after STI or MOV SS)");
}

Status Replayer::apply_nmi() {
  TRY_ASSIGN(bool undelivered, vcpu_.injection_pending());
  TRY_ASSIGN(vm::CpuState cpu, vcpu_.state());
  interrupted_at_ = Moment{total_steps(), last_event() + 1};
  if (!undelivered && cpu.nmi_masked == 0) return vcpu_.nmi();
  return diverge(Divergence::Kind::access, expectation(), "the guest cannot take an NMI here (it is taking one already)");
}

Result<bool> Replayer::at_place(const trace::Where& where) {
  switch (where.placement) {
    case trace::Placement::boundary:
      return true;
    case trace::Placement::window:
      return vcpu_.can_interrupt();
    case trace::Placement::steps:
      return steps() == where.steps;
    case trace::Placement::state:
      break;
  }
  TRY_ASSIGN(bool there, matches(*where.state));
  if (there) note_agreement();
  return there;
}

Result<bool> Replayer::matches(const trace::MatchedState& state) {
  const vm::CpuState& quick = vcpu_.quick_registers();
  if (quick.rip != state.cpu.rip || quick.gpr != state.cpu.gpr) return false;
  TRY_ASSIGN(bool undelivered, vcpu_.injection_pending());
  if (undelivered) return false;
  TRY_ASSIGN(vm::CpuState cpu, vcpu_.state());
  vm::CpuState wanted = state.cpu;
  cpu.rflags &= ~kResumeFlag;
  wanted.rflags &= ~kResumeFlag;
  if (cpu != wanted) return false;
  TRY_ASSIGN(uint64_t ram, tracker_->refresh());
  return ram == state.ram_digest;
}

/// Runs towards a place that has no event of its own. Returns after each exit; the caller looks whether it is the place.
Status Replayer::approach(const trace::Where& where, bool stepping) {
  if (!stepping) TRY(check_breakpoint());
  if (stop_) return {};
  const vm::VcpuCapabilities& can = vcpu_.capabilities();
  bool counted = where.placement == trace::Placement::steps;
  if (counted && steps() > where.steps) {
    return diverge(Divergence::Kind::access, expectation(),
                   fmt::format("the guest has gone {} steps since the event before", steps()));
  }
  bool limited = limit_steps(counted ? std::optional(where.steps) : std::nullopt);
  bool can_break = user_breakpoints_.size() < can.max_breakpoints;
  if (can_break && where.placement == trace::Placement::state) {
    TRY_ASSIGN(can_break, vcpu_.can_break_at({where.state->cpu.linear_rip()}));
  }
  bool free = !stepping && limited &&
              (counted || (where.placement == trace::Placement::window && can.exact_window) ||
               (where.placement == trace::Placement::state && can.hardware_breakpoints && can_break));
  bool window = free && where.placement == trace::Placement::window;
  if (window) vcpu_.request_window(true);
  if (free && where.placement == trace::Placement::state) {
    vm::GuestVirt at{where.state->cpu.linear_rip()};
    TRY(arm_breakpoints(&at));
    bool for_this_only = quiet_ || std::ranges::count(user_breakpoints_, at) == 0;
    vcpu_.await(for_this_only ? &where.state->cpu : nullptr);
  }
  auto exit = run_watched(free ? vm::RunMode::free : vm::RunMode::step);
  vcpu_.await(awaited_);
  if (window) vcpu_.request_window(false);
  TRY(arm_breakpoints(nullptr));
  if (!exit) return tl::make_unexpected(exit.error());
  if (ended_) return {};
  bool an_event = !std::holds_alternative<vm::Stepped>(*exit) && !std::holds_alternative<vm::BreakpointHit>(*exit) &&
                  !std::holds_alternative<vm::WindowOpen>(*exit) && !std::holds_alternative<vm::Interrupted>(*exit) &&
                  !std::holds_alternative<vm::StepLimit>(*exit) && !std::holds_alternative<vm::WatchHit>(*exit);
  if (an_event) {
    return diverge(Divergence::Kind::access, expectation(),
                   "the guest went on to its next device access, HLT or fault before this point");
  }
  TRY(check_exit(*exit));
  if (stop_ || std::holds_alternative<vm::Interrupted>(*exit)) return {};
  if (stepping) stop_with({.kind = SessionStop::Kind::step});
  // Steps, and breakpoints in a loop, may go on for ever without a kick ever ending a run.
  if (std::holds_alternative<vm::BreakpointHit>(*exit)) came_by_at_ns_ = clock_.now_ns();
  return stop_ ? Status{} : check_patience();
}

/// The vCPU looks at breakpoints only while it runs freely, and not where it starts: where a step, a completed instruction
/// or a kick ended, the replayer looks, before the guest runs on.
Status Replayer::check_breakpoint() {
  if (user_breakpoints_.empty() || quiet_ || !ran_ || in_instruction_) return {};
  TRY_ASSIGN(bool undelivered, vcpu_.injection_pending());
  vm::GuestVirt at{vcpu_.quick_registers().linear_rip()};
  bool hit = !undelivered && breaks_at(at);
  if (hit) stop_with({.kind = SessionStop::Kind::breakpoint});
  return {};
}

bool Replayer::breaks_at(vm::GuestVirt at) const {
  return std::count(user_breakpoints_.begin(), user_breakpoints_.end(), at) > 0 && stops_at(at);
}

Status Replayer::arm_breakpoints(const vm::GuestVirt* extra) {
  std::vector<vm::GuestVirt> all;
  if (!quiet_) all = user_breakpoints_;
  if (extra != nullptr) all.push_back(*extra);
  return vcpu_.set_breakpoints(all);
}

Status Replayer::compare_digest(const trace::DigestEvent& digest) {
  TRY_ASSIGN(vm::CpuState cpu, vcpu_.state());
  TRY_ASSIGN(uint64_t ram, tracker_->refresh());
  if (vm::hash(cpu) == digest.cpu_hash && ram == digest.ram_digest) {
    note_agreement();
    return {};
  }
  StateDifference found{cpu, digest.cpu_hash, digest.ram_digest - ram, {}, tracker_->changed()};
  for (auto [page, hash] : digest.pages) {
    bool differs = page < memory_.ram_size() / vm::kPageSize && tracker_->page(page) != hash;
    if (differs) found.recorded_pages.emplace_back(page, hash);
  }
  return diverge_in_state(found, ram);
}

Status Replayer::compare_end(const trace::End& end) {
  TRY_ASSIGN(uint64_t ram, tracker_->refresh());
  vm::CpuState cpu;
  if (!end.cpu_is_dead) {
    TRY_ASSIGN(cpu, vcpu_.state());
  }
  uint64_t recorded_cpu = end.cpu_is_dead ? vm::hash(cpu) : end.cpu_hash;
  if (ram == end.ram_digest && vm::hash(cpu) == recorded_cpu) return {};
  return diverge_in_state({cpu, recorded_cpu, end.ram_digest - ram, {}, tracker_->changed()}, ram);
}

/// The events are used up: go to where the recording ended and compare.
Status Replayer::finish(bool stepping) {
  const trace::End* end = reader_.end();
  TRY(complete_instruction());
  if (ended_) return {};
  if (end != nullptr && end->cpu_is_dead) {
    if (!stepping) TRY(check_breakpoint());
    if (stop_) return {};
    watch_for_silence();
    limit_steps(std::nullopt);
    ran_ = true;
    auto exit = vcpu_.run(stepping ? vm::RunMode::step : vm::RunMode::free);
    bool on_the_way =
        exit && (std::holds_alternative<vm::Interrupted>(*exit) || std::holds_alternative<vm::Stepped>(*exit) ||
                 std::holds_alternative<vm::StepLimit>(*exit) || std::holds_alternative<vm::BreakpointHit>(*exit) ||
                 std::holds_alternative<vm::WatchHit>(*exit));
    if (on_the_way) {
      TRY(check_exit(*exit));
      if (std::holds_alternative<vm::Stepped>(*exit)) stop_with({.kind = SessionStop::Kind::step});
      return {};
    }
    if (exit && !std::holds_alternative<vm::Shutdown>(*exit)) {
      return diverge(Divergence::Kind::access, "the CPU stops for good (" + end->reason + ")", "the guest runs on");
    }
  } else if (end != nullptr && end->where.placement != trace::Placement::boundary) {
    TRY_ASSIGN(bool there, at_place(end->where));
    if (!there) return approach(end->where, stepping);
  }
  if (end != nullptr) TRY(compare_end(*end));
  finished_ = true;
  if (ended_) return {};
  std::string reason = end != nullptr ? end->reason : "the recording was cut off here";
  ended_ = SessionStop{.kind = SessionStop::Kind::ended, .reason = std::move(reason)};
  stop_ = ended_;
  return {};
}

}  // namespace dejavm::replay
