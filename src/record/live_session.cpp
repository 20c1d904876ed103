#include "record/live_session.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "base/check.h"

namespace dejavm::record {

using vm::SessionStop;

namespace {

constexpr uint64_t kFirstDigestNs = 50'000'000;
constexpr uint64_t kDigestShare = 100;  // a digest may cost 1/100 of the time between digests

template <typename... F>
struct Overloaded : F... {
  using F::operator()...;
};

bool readable(int fd) {
  pollfd polled{fd, POLLIN, 0};
  return fd >= 0 && ::poll(&polled, 1, 0) > 0;
}

}  // namespace

Result<std::unique_ptr<LiveSession>> LiveSession::create(vm::Machine& machine, vm::Vcpu& vcpu, const vm::CpuModel& model,
                                                         const Clock& clock, trace::Writer* log, LiveOptions options) {
  std::unique_ptr<LiveSession> session(new LiveSession(machine, vcpu, model, clock, log, options));
  TRY_ASSIGN(session->waker_, Waker::create(clock, [&vcpu] { vcpu.kick(); }));
  for (int fd : {options.input_fd, options.stop_fd}) {
    if (fd >= 0) session->waker_->watch(fd);
  }
  return session;
}

LiveSession::LiveSession(vm::Machine& machine, vm::Vcpu& vcpu, const vm::CpuModel& model, const Clock& clock,
                         trace::Writer* log, LiveOptions options)
    : machine_(machine),
      vcpu_(vcpu),
      model_(model),
      clock_(clock),
      log_(log),
      options_(options),
      joins_(vcpu, machine.memory()),
      devices_(machine.bus().regions()),
      map_generation_(machine.memory().map_generation()),
      bus_generation_(machine.bus().generation()) {
  machine_.timers().stop();
  next_digest_ns_ = kFirstDigestNs;
  if (options_.keyframe_ns) next_keyframe_ns_ = *options_.keyframe_ns;
  if (log_ == nullptr) return;
  tracker_.emplace(vcpu_, machine_.memory());
  machine_.memory().set_observer([this](uint64_t offset, ByteSpan bytes, vm::Writer writer) {
    if (writer != vm::Writer::device || !log_status_) return;
    log_status_ = append(trace::MemoryWriteEvent{offset, Bytes(bytes.begin(), bytes.end()), here()});
  });
}

LiveSession::~LiveSession() { machine_.memory().set_observer(nullptr); }

Result<SessionStop> LiveSession::resume(vm::ResumeFor what) {
  if (ended_) return *ended_;
  bool stepping = what != vm::ResumeFor::go;
  bool hold_interrupts = what == vm::ResumeFor::step;
  machine_.timers().start();
  stop_.reset();
  while (!stop_) {
    if (needs_attention() || halted_) {
      TRY(complete_instruction());
      TRY(service(hold_interrupts));
      if (stop_) break;
      if (halted_) {
        waker_->wait();
        continue;
      }
    }
    TRY_ASSIGN(vm::Exit exit, vcpu_.run(stepping ? vm::RunMode::step : vm::RunMode::free));
    TRY(handle(exit));
    if (stepping && !stop_ && !std::holds_alternative<vm::Interrupted>(exit)) {
      TRY(complete_instruction());
      stop_with({.kind = SessionStop::Kind::step});
    }
  }
  TRY(complete_instruction());
  machine_.timers().stop();
  return *stop_;
}

void LiveSession::interrupt() {
  interrupt_wanted_.store(true);
  waker_->demand();
}

Status LiveSession::set_breakpoints(const std::vector<vm::GuestVirt>& addresses) { return vcpu_.set_breakpoints(addresses); }

std::string LiveSession::why_read_only() const {
  return log_ != nullptr ? "the guest is being recorded; debug it with `dejavm run` to change its state" : "";
}

void LiveSession::stop_with(SessionStop stop) {
  if (!stop_) stop_ = std::move(stop);
}

void LiveSession::end_with(std::string reason, uint8_t exit_status) {
  ended_ = SessionStop{
      .kind = SessionStop::Kind::ended, .seen = {}, .break_id = 0, .reason = std::move(reason), .exit_status = exit_status};
  stop_ = ended_;
}

// ---- Exits

Status LiveSession::handle(const vm::Exit& exit) {
  auto away = [&] {  // instructions ran, and none of them is an event
    moved_ = true;
    in_instruction_ = false;
    joins_.boundary();
  };
  at_exact_window_ = false;
  return std::visit(Overloaded{
                        [&](const vm::DeviceAccess& access) { return handle_access(access, false); },
                        [&](const vm::MsrAccess& access) { return handle_msr(access); },
                        [&](const vm::Halted&) -> Status {
                          halted_ = true;
                          away();
                          return append(trace::HaltEvent{});
                        },
                        [&](const vm::WindowOpen&) -> Status {
                          away();
                          at_exact_window_ = vcpu_.capabilities().exact_window && window_since_event_;
                          return {};
                        },
                        [&](const vm::Interrupted&) -> Status {
                          away();
                          return {};
                        },
                        [&](const vm::Stepped&) -> Status {
                          away();
                          return {};
                        },
                        [&](const vm::BreakpointHit&) -> Status {
                          away();
                          stop_with({.kind = SessionStop::Kind::breakpoint});
                          return {};
                        },
                        [&](const vm::Completed&) -> Status {
                          in_instruction_ = false;
                          joins_.boundary();
                          return {};
                        },
                        [&](const vm::Shutdown&) -> Status {
                          away();
                          dead_ = true;
                          power_ = vm::PowerEvent{vm::PowerEvent::Kind::reset, "triple fault", 0};
                          return {};
                        },
                    },
                    exit);
}

Status LiveSession::handle_access(const vm::DeviceAccess& exit, bool certain) {
  vm::SeenAccess seen{exit.access, events_, std::nullopt};
  if (exit.instruction) seen.instruction = exit.instruction->value;
  bool joined = log_ != nullptr && joins_.next(exit.access, certain);
  uint64_t answer = machine_.bus().access(exit.access);
  if (!exit.access.is_write()) {
    vcpu_.reply(answer);
    seen.access.value = answer;
  }
  in_instruction_ = true;
  if (log_ != nullptr) TRY(log_->append_access({seen.access, joined, seen.instruction}, time_us()));
  ++events_;
  moved_ = false;
  point_.reset();
  window_since_event_ = window_requested_;
  history_.note(seen);
  if (const vm::AccessBreak* hit = breaks_.check(seen, devices_)) {
    stop_with({.kind = SessionStop::Kind::device, .seen = seen, .break_id = hit->id});
  }
  if (log_ != nullptr && !certain && joins_.write_may_continue()) return complete_instruction();
  return {};
}

Status LiveSession::handle_msr(const vm::MsrAccess& exit) {
  auto value = model_.read_msr(exit.index);
  trace::CpuReadEvent event{exit.index, exit.write, exit.write ? exit.value : value.value_or(0), !value.has_value()};
  if (event.fault) {
    vcpu_.reply_fault();
  } else {
    vcpu_.reply(event.value);
  }
  in_instruction_ = true;
  joins_.boundary();
  return append(event);
}

Status LiveSession::complete_instruction() {
  while (in_instruction_) {
    TRY_ASSIGN(vm::Exit exit, vcpu_.run(vm::RunMode::complete));
    if (const auto* access = std::get_if<vm::DeviceAccess>(&exit)) {
      TRY(handle_access(*access, true));
    } else {
      TRY(handle(exit));
    }
  }
  return {};
}

// ---- Consistent points

bool LiveSession::needs_attention() {
  vm::Machine& m = machine_;
  if (!power_) power_ = m.take_power_event();
  uint64_t now = m.timers().now_ns();
  return stop_ || waker_->attention() || power_ || !m.deferred().empty() ||
         m.timers().next_deadline_ns().value_or(UINT64_MAX) <= now ||
         (log_ != nullptr && !moved_ && now >= next_digest_ns_) ||
         (m.interrupt_pending() && (vcpu_.interrupts_enabled() || !window_requested_)) ||
         map_generation_ != m.memory().map_generation() || bus_generation_ != m.bus().generation() ||
         (options_.max_events && events_ >= *options_.max_events) || (options_.max_ns && now >= *options_.max_ns) ||
         (input_full_ && m.serial_input()->room() > 0);
}

Status LiveSession::service(bool hold_interrupts) {
  TRY_ASSIGN(bool undelivered, vcpu_.injection_pending());
  if (undelivered) {  // not a consistent point: let the frame be pushed first, and come back soon
    waker_->set_deadline(clock_.now_ns());
    return {};
  }
  if (waker_->attention()) waker_->rearm();
  uint64_t now = machine_.timers().now_ns();
  bool input = input_ready();
  TRY(note_point(now, input, hold_interrupts));
  if (input) feed_input();
  TRY(run_device_work(now));
  TRY(log_map_changes());
  TRY(handle_power());
  TRY(digest_if_due());
  check_limits();
  if (!stop_ && (halted_ || !hold_interrupts)) TRY(inject());

  uint64_t base = clock_.now_ns() - machine_.timers().now_ns();
  auto deadline = machine_.timers().next_deadline_ns();
  if (options_.max_ns) deadline = std::min(deadline.value_or(UINT64_MAX), *options_.max_ns);
  waker_->set_deadline(deadline ? std::optional(*deadline + base) : std::nullopt);
  return {};
}

/// Before anything enters at an asynchronous point, keeps the state that tells replay where it is.
Status LiveSession::note_point(uint64_t now, bool input, bool hold_interrupts) {
  if (log_ == nullptr || !moved_ || at_exact_window_) return {};
  bool timers = machine_.timers().next_deadline_ns().value_or(UINT64_MAX) <= now;
  TRY_ASSIGN(bool open, vcpu_.can_interrupt());
  bool interrupt = machine_.interrupt_pending() && open && !hold_interrupts;
  bool maps = map_generation_ != machine_.memory().map_generation() || bus_generation_ != machine_.bus().generation();
  if (!timers && !interrupt && !input && !maps && machine_.deferred().empty()) return {};
  TRY_ASSIGN(point_, capture());
  return {};
}

Status LiveSession::run_device_work(uint64_t now) {
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
  return append(trace::MemoryMapEvent{machine_.memory().map(), devices_, here()});
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
  TRY(append(trace::ResetEvent{event.cause == "triple fault", event.cause}));
  TRY(machine_.reset());
  TRY(vcpu_.set_state(vm::reset_state()));
  halted_ = dead_ = false;
  power_ = machine_.take_power_event();
  return log_map_changes();
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
  TRY(append(trace::InterruptEvent{vector, here()}));
  TRY(vcpu_.interrupt(vector));
  halted_ = false;
  bool more = machine_.interrupt_pending();
  vcpu_.request_window(more);
  window_requested_ = window_since_event_ = more;
  return {};
}

Status LiveSession::digest_if_due() {
  if (log_ == nullptr || moved_ || stop_) return {};
  uint64_t now = machine_.timers().now_ns();
  if (now < next_digest_ns_) return {};
  TRY_ASSIGN(vm::CpuState cpu, vcpu_.state());
  TRY_ASSIGN(uint64_t ram, tracker_->refresh());
  static constexpr size_t kMaxPages = 4096;
  auto pages = tracker_->take_changed();
  bool cut = pages.size() > kMaxPages;
  if (cut) pages.resize(kMaxPages);
  TRY(append(trace::DigestEvent{vm::hash(cpu), ram, std::move(pages), cut}));
  if (options_.keyframe_ns && now >= next_keyframe_ns_) {
    TRY(log_->append_keyframe(cpu, machine_.memory(), devices_, tracker_->take_touched(), time_us()));
    next_keyframe_ns_ = machine_.timers().now_ns() + *options_.keyframe_ns;
  }
  uint64_t after = machine_.timers().now_ns();
  next_digest_ns_ = after + std::max(kFirstDigestNs, kDigestShare * (after - now));
  return {};
}

void LiveSession::check_limits() {
  if (interrupt_wanted_.exchange(false)) stop_with({.kind = SessionStop::Kind::interrupted});
  if (ended_) return;
  if (options_.max_events && events_ >= *options_.max_events) {
    end_with(fmt::format("--max-events {}", *options_.max_events));
  } else if (options_.max_ns && machine_.timers().now_ns() >= *options_.max_ns) {
    end_with(fmt::format("--max-seconds {}", static_cast<double>(*options_.max_ns) / 1e9));
  } else if (readable(options_.stop_fd)) {
    end_with("interrupted by the user");
  }
}

bool LiveSession::input_ready() {
  vm::HostInput* input = machine_.serial_input();
  if (input == nullptr || !readable(options_.input_fd)) return false;
  bool full = input->room() == 0;
  if (full && !input_full_) waker_->unwatch(options_.input_fd);
  if (!full && input_full_) waker_->watch(options_.input_fd);
  input_full_ = full;
  return !full;
}

void LiveSession::feed_input() {
  vm::HostInput* input = machine_.serial_input();
  uint8_t bytes[256];
  ssize_t got = ::read(options_.input_fd, bytes, std::min(input->room(), sizeof bytes));
  if (got > 0) {
    input->receive({bytes, static_cast<size_t>(got)});
  } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
    waker_->unwatch(options_.input_fd);  // end of input: nothing more will come
    options_.input_fd = -1;
  }
}

// ---- The log

Status LiveSession::append(trace::EventBody body) {
  bool numbered = trace::is_numbered(body);
  if (log_ != nullptr) TRY(log_->append({std::move(body), time_us()}));
  if (!numbered) return {};
  ++events_;
  moved_ = false;
  at_exact_window_ = false;
  point_.reset();
  window_since_event_ = window_requested_;
  return {};
}

trace::Where LiveSession::here() {
  if (!moved_ || log_ == nullptr) return {};
  if (at_exact_window_) return {trace::Placement::window, 0, nullptr};
  CHECK(point_ != nullptr);  // note_point() saw it coming
  return {trace::Placement::state, 0, point_};
}

Result<std::shared_ptr<const trace::MatchedState>> LiveSession::capture() {
  TRY_ASSIGN(vm::CpuState cpu, vcpu_.state());
  TRY_ASSIGN(uint64_t ram, tracker_->refresh());
  return std::make_shared<const trace::MatchedState>(trace::MatchedState{cpu, ram});
}

Result<trace::End> LiveSession::finish(const std::string& reason, bool dead) {
  trace::End end;
  if (log_ == nullptr) return end;
  end.events = events_;
  end.reason = reason;
  end.cpu_is_dead = dead || dead_;
  if (!end.cpu_is_dead) {
    TRY_ASSIGN(auto state, capture());
    end.ram_digest = state->ram_digest;
    end.cpu_hash = vm::hash(state->cpu);
    if (moved_) end.where = {trace::Placement::state, 0, state};
  } else {
    TRY_ASSIGN(end.ram_digest, tracker_->refresh());
  }
  TRY(log_->finish(end));
  return end;
}

}  // namespace dejavm::record
