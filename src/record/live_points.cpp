// The consistent-point half of LiveSession: what may enter the guest now, in which order, and what is written down of it.
#include <poll.h>

#include <algorithm>

#include "base/check.h"
#include "record/live_session.h"
#include "record/quantum.h"
#include "vm/loop_exit.h"
#include "vm/return_address.h"
#include "vm/translate.h"

namespace dejavm::record {

using vm::SessionStop;

namespace {

/// A digest may cost 1/100 of the time between digests. What it takes itself is about a tenth of that: the rest is the
/// faults of the guest's next writes to the pages that the engine watches again.
constexpr uint64_t kDigestShare = 1000;
/// But a moment at which the host was busy with others puts off the next one no longer than to here, or to 1/100 by itself.
constexpr uint64_t kDigestPutOffNs = 2'000'000'000;

uint64_t until_next_digest_ns(uint64_t took_ns) {
  uint64_t longest = std::max(kDigestPutOffNs, kDigestShare / 10 * took_ns);
  return std::max(LiveSession::kDigestEveryNs, std::min(kDigestShare * took_ns, longest));
}

bool readable(int fd) {
  pollfd polled{fd, POLLIN, 0};
  return fd >= 0 && ::poll(&polled, 1, 0) > 0;
}

}  // namespace

bool LiveSession::needs_attention() {
  vm::Machine& m = machine_;
  if (!power_) power_ = m.take_power_event();
  uint64_t now = m.timers().now_ns();
  return stop_ || waker_->attention() || power_ || !m.deferred().empty() ||
         m.timers().next_deadline_ns().value_or(UINT64_MAX) <= now || (log_ != nullptr && !moved_ && digest_due(now)) ||
         (m.interrupt_pending() && (vcpu_.interrupts_enabled() || !window_requested_)) ||
         map_generation_ != m.memory().map_generation() || bus_generation_ != m.bus().generation() || wants_end(now) ||
         input_has_room();
}

Status LiveSession::service(bool hold_interrupts) {
  TRY_ASSIGN(bool undelivered, vcpu_.injection_pending());
  if (undelivered) {  // not a consistent point: let the frame be pushed first, and come back soon
    armed_deadline_ns_ = machine_.timers().now_ns();
    if (options_.virtual_time != nullptr) {
      vcpu_.set_step_limit(vcpu_.steps());
    } else {
      waker_->set_deadline(clock_.now_ns());
    }
    return {};
  }
  TRY(leave_busy_place(hold_interrupts));
  at_point_ = true;
  if (dead_) return handle_power();  // nothing can enter a CPU in shutdown
  if (waker_->attention()) waker_->rearm();
  TRY(let_devices_work());
  TRY(log_map_changes());
  TRY(handle_power());
  TRY(digest_if_due());
  check_limits();
  if (!stop_ && (halted_ || !hold_interrupts)) TRY(inject());

  return {};
}

/// Tells the waker when the guest must be left at the latest. A device may have armed a timer in any access.
void LiveSession::arm_deadline() {
  uint64_t deadline = machine_.timers().next_deadline_ns().value_or(UINT64_MAX);
  if (!ending_.empty()) {
    deadline = std::min(deadline, end_at_latest_ns_);
  } else if (options_.max_ns) {
    deadline = std::min(deadline, *options_.max_ns);
  }
  if (options_.virtual_time != nullptr) {
    // Without counts, a natural exit is waited for, as the waker does.
    if (!counts_steps_ && deadline < UINT64_MAX - Waker::kGraceNs) deadline += Waker::kGraceNs;
    uint64_t now = machine_.timers().now_ns();
    vcpu_.set_step_limit(deadline == UINT64_MAX ? deadline
                                                : options_.virtual_time->steps_in(deadline > now ? deadline - now : 0));
    return;
  }
  if (deadline == armed_deadline_ns_) return;
  armed_deadline_ns_ = deadline;
  uint64_t now = machine_.timers().now_ns();
  uint64_t base = clock_.now_ns() - now;
  waker_->set_deadline(deadline < UINT64_MAX ? std::optional(deadline + base) : std::nullopt,
                       quantum_ns(deadline - std::min(deadline, now), point_cost_ns_));
}

/// In HLT. Virtual time passes at once, unless somebody sits at the serial port or a network is attached.
void LiveSession::sleep_until_deadline() {
  VirtualTime* time = options_.virtual_time;
  uint64_t now = machine_.timers().now_ns();
  uint64_t deadline =
      std::min(machine_.timers().next_deadline_ns().value_or(UINT64_MAX), options_.max_ns.value_or(UINT64_MAX));
  if (time == nullptr || deadline == UINT64_MAX) return waker_->wait();
  if (deadline <= now) return;
  if (!follows_wall_clock()) return time->advance(deadline - now);
  uint64_t start = clock_.now_ns();
  waker_->set_deadline(start + (deadline - now));
  waker_->wait();
  waker_->set_deadline(std::nullopt);
  time->advance(std::min(deadline - now, clock_.now_ns() - start));
}

/// Whether something enters the guest here that has to be found again. What a timer does while interrupts are off seldom is.
Result<bool> LiveSession::something_enters() {
  bool timers = machine_.timers().next_deadline_ns().value_or(UINT64_MAX) <= machine_.timers().now_ns();
  TRY_ASSIGN(bool open, vcpu_.can_interrupt());
  bool maps = map_generation_ != machine_.memory().map_generation() || bus_generation_ != machine_.bus().generation();
  bool input = input_ready();
  return (open && (timers || machine_.interrupt_pending())) || input || maps || power_ || !machine_.deferred().empty();
}

/// What enters where a replay has to find it again waits until the guest is where a replay seldom comes by.
Status LiveSession::leave_busy_place(bool hold_interrupts) {
  if (log_ == nullptr || !moved_ || at_exact_window_ || counts_steps_ || options_.virtual_time != nullptr) return {};
  if (dead_ || hold_interrupts || !breakpoints_.empty()) return {};
  TRY_ASSIGN(bool wanted, something_enters());
  if (!wanted) return {};
  if (kicked_) TRY(step_out());
  if (!moved_ || at_exact_window_ || dead_) return {};
  TRY(tracker_->refresh());
  constexpr int kMostSteps = 128;
  for (int step = 0; step < kMostSteps && moved_ && !at_exact_window_ && !dead_ && !stop_ && is_busy_place(); ++step) {
    auto exit = vcpu_.run(vm::RunMode::step);
    if (!exit) return engine_failed(exit.error());
    TRY(handle(*exit));
    TRY(complete_instruction());
  }
  return {};
}

/// A RET may be the one by which all functions of a kernel return, its return thunk. And where the code is younger than the
/// last event, as in a kernel that patches itself, a replay that waits there with HLT finds it overwritten.
bool LiveSession::is_busy_place() const {
  constexpr uint8_t kRet = 0xc3;
  const vm::CpuState& cpu = vcpu_.quick_registers();
  auto offset = vm::backing_offset(cpu, machine_.memory(), {cpu.linear_rip()});
  return offset && (*machine_.memory().host(*offset) == kRet || tracker_->changed_lately(*offset / vm::kPageSize));
}

/// A kick leaves the guest anywhere, most often in a loop, where a replay would have to compare at every turn. What enters
/// then enters when a function returns, the further out the better, else when a loop ends, or when user code enters the
/// kernel, or at the guest's next exit; if nothing of this comes soon, where the guest is. Nothing waits at an open window:
/// what comes more often than this takes would keep the rest out.
Status LiveSession::step_out() {
  constexpr unsigned kUserRing = 3;
  constexpr vm::WayOut kWays[] = {{false, 3}, {false, 2}, {false, 1}, {true, 2}, {true, 1}, {true, 0}, {false, 1}};
  bool in_user_code = vcpu_.quick_registers().segment[vm::cs].dpl == kUserRing;
  bool at_busy_caller = false;
  auto registers = vcpu_.quick_registers().gpr;
  for (const vm::WayOut& way : kWays) {
    bool last = in_user_code || &way == std::end(kWays) - 1;
    if (at_busy_caller && way.level != 0 && !last) continue;
    std::optional<vm::GuestVirt> address;
    if (!in_user_code && vcpu_.capabilities().hidden_breakpoints) {  // a kernel would meet those that are not
      auto callers = vm::find_return_addresses(vcpu_.quick_registers(), machine_.memory(), way.level);
      address = vm::leads_to(vcpu_.quick_registers(), machine_.memory(), way,
                             callers.empty() ? std::nullopt : std::optional(callers.back()));
      if (!address && at_busy_caller) return {};
      if (!address) continue;
      TRY_ASSIGN(bool stops, vcpu_.can_break_at(*address));
      if (!stops) return {};
    }
    uint64_t start = clock_.now_ns();
    TRY_ASSIGN(Left left, run_out(address, way, last ? kLastWayOutNs : kStepOutNs));
    if (!kicked_ || !moved_ || dead_ || stop_ || in_user_code) return {};
    if (at_busy_caller && left != Left::late) return {};
    if (left == Left::here) {
      // What the ways further out had no time for may be a loop that comes by here all the time.
      at_busy_caller = &way != kWays && !way.of_loop && !last && clock_.now_ns() - start < kSeldomNs;
      if (!at_busy_caller) return {};
    }
    // A loop that waits for what is to enter: its first turn matches.
    if (left == Left::late && registers == vcpu_.quick_registers().gpr) return {};
    registers = vcpu_.quick_registers().gpr;
  }
  return {};
}

/// Runs to the address, or without one as vm::Vcpu::run_out() does.
Result<LiveSession::Left> LiveSession::run_out(std::optional<vm::GuestVirt> address, vm::WayOut way, uint64_t limit_ns) {
  auto starts = [&] {
    armed_deadline_ns_ = 0;  // arm_deadline() is to tell the waker anew
    waker_->set_deadline(clock_.now_ns() + limit_ns, 0);
  };
  if (address) TRY(vcpu_.set_breakpoints({&*address, 1}));
  auto run = [&]() -> Result<std::optional<vm::Exit>> {
    if (!address) return vcpu_.run_out(way, starts);
    starts();
    TRY_ASSIGN(vm::Exit exit, vcpu_.run(vm::RunMode::free));
    return exit;
  };
  auto exit = run();
  TRY(vcpu_.set_breakpoints(breakpoints_));
  if (!exit) return engine_failed(exit.error());
  if (!*exit) return Left::no_way;
  bool there = std::holds_alternative<vm::BreakpointHit>(**exit);
  TRY(handle(there ? vm::Exit{vm::Interrupted{}} : **exit));
  TRY(complete_instruction());
  return there ? Left::here : Left::late;
}

Status LiveSession::let_devices_work() {
  vm::TimerQueue::Moment moment(machine_.timers());
  uint64_t now = machine_.timers().now_ns();
  if (input_ready()) feed_inputs();
  machine_.timers().run_due(now);
  machine_.deferred().run();
  if (!power_) power_ = machine_.take_power_event();
  return log_status_;
}

Status LiveSession::log_map_changes() {
  if (map_generation_ == machine_.memory().map_generation() && bus_generation_ == machine_.bus().generation()) return {};
  map_generation_ = machine_.memory().map_generation();
  bus_generation_ = machine_.bus().generation();
  devices_ = machine_.bus().regions();
  TRY_ASSIGN(trace::Where where, here());
  return append(trace::MemoryMapEvent{machine_.memory().map(), devices_, std::move(where)});
}

Status LiveSession::handle_power() {
  if (!power_) return {};
  vm::PowerEvent event = *std::exchange(power_, std::nullopt);
  if (event.kind == vm::PowerEvent::Kind::power_off) {
    end_with(fmt::format("the guest powered off ({})", event.cause));
    return {};
  }
  if (event.kind == vm::PowerEvent::Kind::exit) {
    end_with(fmt::format("the guest exited with status {} ({})", event.exit_status, event.cause), event.exit_status);
    return {};
  }
  if (!options_.reboot) {
    end_with(fmt::format("the guest asked for a reset ({}) and -no-reboot is given", event.cause));
    return {};
  }
  bool triple_fault = event.cause == kTripleFault;
  if (!triple_fault) TRY(mark_place());
  TRY(append(trace::ResetEvent{triple_fault, event.cause}));
  TRY(machine_.reset());
  TRY(vcpu_.set_state(vm::reset_state()));
  halted_ = dead_ = false;
  power_ = machine_.take_power_event();
  return log_map_changes();
}

/// A reset enters right behind the event before it (docs/determinism.md). Where instructions ran since, a memory write of
/// nothing states the place.
Status LiveSession::mark_place() {
  if (log_ != nullptr && moved_) TRY(log_write(0, {}));
  CHECK(log_ == nullptr || !moved_);
  return {};
}

Status LiveSession::inject() {
  if (!machine_.interrupt_pending()) {
    vcpu_.request_window(false);
    window_requested_ = window_since_event_ = false;
    return {};
  }
  TRY_ASSIGN(bool open, vcpu_.can_interrupt());
  if (!open) {
    if (!window_requested_) window_since_event_ = !moved_;
    window_requested_ = true;
    vcpu_.request_window(true);
    return {};
  }
  uint8_t vector = machine_.acknowledge_interrupt();
  TRY_ASSIGN(trace::Where where, here());
  TRY(append(trace::InterruptEvent{vector, std::move(where)}));
  TRY(vcpu_.interrupt(vector));
  halted_ = false;
  bool more = machine_.interrupt_pending();
  vcpu_.request_window(more);
  window_requested_ = window_since_event_ = more;
  return {};
}

/// A keyframe stands behind a digest.
bool LiveSession::digest_due(uint64_t now) const {
  return now >= next_digest_ns_ || (options_.keyframe_ns && now >= next_keyframe_ns_);
}

Status LiveSession::digest_if_due() {
  if (log_ == nullptr || moved_ || stop_) return {};
  uint64_t now = machine_.timers().now_ns();
  if (!digest_due(now)) return {};
  TRY_ASSIGN(vm::CpuState cpu, vcpu_.state());
  TRY_ASSIGN(uint64_t ram, tracker_->refresh());
  static constexpr size_t kMaxPages = 4096;
  auto pages = tracker_->take_changed();
  bool cut = pages.size() > kMaxPages;
  if (cut) pages.resize(kMaxPages);
  TRY(append(trace::DigestEvent{vm::hash(cpu), ram, std::move(pages), cut}));
  uint64_t after = machine_.timers().now_ns();
  next_digest_ns_ = after + (options_.virtual_time != nullptr ? kDigestEveryVirtualNs : until_next_digest_ns(after - now));
  if (options_.keyframe_ns && now >= next_keyframe_ns_) {
    std::optional<trace::StepCounts> steps;
    if (vcpu_.capabilities().exact_steps) steps = trace::StepCounts{vcpu_.steps(), event_steps_};
    TRY(log_->append_keyframe(cpu, machine_.memory(), devices_, tracker_->take_touched(), steps, time_us()));
    next_keyframe_ns_ = machine_.timers().now_ns() + *options_.keyframe_ns;
  }
  return {};
}

/// Whether check_limits() would do something about the end now.
bool LiveSession::wants_end(uint64_t now) const {
  if (!ending_.empty()) return !moved_ || counts_steps_ || now >= end_at_latest_ns_;
  return (options_.max_events && events_ >= *options_.max_events) || (options_.max_ns && now >= *options_.max_ns);
}

void LiveSession::check_limits() {
  if (interrupt_wanted_.exchange(false)) stop_with({.kind = SessionStop::Kind::interrupted});
  if (ended_) return;
  uint64_t now = machine_.timers().now_ns();
  if (ending_.empty()) {
    if (options_.max_events && events_ >= *options_.max_events) {
      ending_ = fmt::format("--max-events {}", *options_.max_events);
    } else if (options_.max_ns && now >= *options_.max_ns) {
      ending_ = fmt::format("--max-seconds {}", static_cast<double>(*options_.max_ns) / 1e9);
    } else if (readable(options_.stop_fd)) {
      ending_ = "interrupted by the user";
      waker_->unwatch(options_.stop_fd);
    }
    end_at_latest_ns_ = now + kEndGraceNs;
  }
  if (!ending_.empty() && wants_end(now)) end_with(ending_);
}

bool LiveSession::input_ready() {
  bool any = false;
  for (Input& input : inputs_) {
    int fd = input.source->descriptor();
    bool waits = readable(fd);
    input.ready = waits && input.source->has_room();
    any = any || input.ready;
    int wanted = waits && !input.ready ? -1 : fd;
    if (wanted == input.watched) continue;
    if (wanted < 0) {
      waker_->unwatch(input.watched);
    } else {
      waker_->watch(wanted);
    }
    input.watched = wanted;
  }
  return any;
}

/// What waited for room can enter.
bool LiveSession::input_has_room() const {
  return std::any_of(inputs_.begin(), inputs_.end(), [](const Input& input) {
    return input.watched < 0 && input.source->descriptor() >= 0 && input.source->has_room();
  });
}

void LiveSession::feed_inputs() {
  for (Input& input : inputs_) {
    if (!input.ready) continue;
    input.source->transfer();
    if (input.source->descriptor() >= 0) continue;
    waker_->unwatch(input.watched);  // nothing more will come
    input.watched = -1;
  }
}

/// Somebody outside, who lives by the wall clock, may still send something.
bool LiveSession::follows_wall_clock() const {
  return std::any_of(inputs_.begin(), inputs_.end(), [](const Input& input) { return input.source->descriptor() >= 0; });
}

}  // namespace dejavm::record
