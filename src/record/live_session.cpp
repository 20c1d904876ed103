#include "record/live_session.h"

#include <algorithm>

#include "base/check.h"
#include "base/overloaded.h"

namespace dejavm::record {

using vm::SessionStop;

Result<std::unique_ptr<LiveSession>> LiveSession::create(vm::Machine& machine, vm::Vcpu& vcpu, const vm::CpuModel& model,
                                                         const Clock& clock, trace::Writer* log, LiveOptions options) {
  std::unique_ptr<LiveSession> session(new LiveSession(machine, vcpu, model, clock, log, options));
  TRY_ASSIGN(session->waker_, Waker::create(clock, [&vcpu] { vcpu.kick(); }));
  if (options.stop_fd >= 0) session->waker_->watch(options.stop_fd);
  for (Input& input : session->inputs_) {
    input.watched = input.source->descriptor();
    if (input.watched >= 0) session->waker_->watch(input.watched);
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
      counts_steps_(vcpu.capabilities().exact_steps && !options.portable),
      joins_(vcpu, machine.memory()),
      devices_(machine.bus().regions()),
      map_generation_(machine.memory().map_generation()),
      bus_generation_(machine.bus().generation()) {
  for (vm::HostInput* input : options_.inputs) inputs_.push_back({input, -1, false});
  machine_.timers().stop();
  next_digest_ns_ = options_.virtual_time != nullptr ? kDigestEveryVirtualNs : kDigestEveryNs;
  note_event_steps();
  if (options_.keyframe_ns) next_keyframe_ns_ = *options_.keyframe_ns;
  watch_observer_ = machine_.memory().add_observer([this](uint64_t offset, ByteSpan bytes, vm::Writer writer) {
    auto hit = writer == vm::Writer::device ? device_hit(offset, bytes.size()) : std::nullopt;
    if (hit) stop_with({.kind = SessionStop::Kind::watch, .watch = *hit});
  });
  if (log_ == nullptr) return;
  tracker_.emplace(vcpu_, machine_.memory());
  observer_ = machine_.memory().add_observer(
      [this](uint64_t offset, ByteSpan bytes, vm::Writer writer) {
        if (writer == vm::Writer::device && log_status_) log_status_ = log_write(offset, bytes);
      },
      [this](vm::Writer writer) {  // a place is what stands there before the write
        if (writer == vm::Writer::device && log_status_) log_status_ = note_point();
      });
}

LiveSession::~LiveSession() {
  machine_.memory().remove_observer(watch_observer_);
  if (observer_) machine_.memory().remove_observer(*observer_);
}

Result<SessionStop> LiveSession::resume(vm::ResumeFor what) {
  if (ended_) return *ended_;
  if (engine_error_) return tl::make_unexpected(*engine_error_);
  bool stepping = what != vm::ResumeFor::go;
  bool hold_interrupts = what == vm::ResumeFor::step;
  machine_.timers().start();
  armed_deadline_ns_ = UINT64_MAX;  // the guest's time stood still: the waker's moments have moved
  waker_->set_deadline(std::nullopt);
  stop_.reset();
  ran_ = false;
  while (!stop_) {
    if (needs_attention() || halted_) {
      TRY(complete_instruction());
      TRY(service(hold_interrupts));
      if (stop_) break;
      if (halted_) {
        arm_deadline();
        sleep_until_deadline();
        continue;
      }
    }
    if (!stepping) TRY(check_breakpoint());
    if (stop_) break;
    arm_deadline();
    at_point_ = false;
    ran_ = true;
    auto exit_or_error = vcpu_.run(stepping ? vm::RunMode::step : vm::RunMode::free);
    if (!exit_or_error) return engine_failed(exit_or_error.error());
    const vm::Exit& exit = *exit_or_error;
    TRY(handle(exit));
    if (options_.patch_rdtsc && !rdtsc_.done()) TRY(patch_rdtsc());
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

Status LiveSession::set_breakpoints(const std::vector<vm::GuestVirt>& addresses) {
  TRY(vcpu_.set_breakpoints(addresses));
  breakpoints_ = addresses;
  return {};
}

/// The vCPU passes a breakpoint where a run starts. Where we left the guest on our own account, that is ours to notice.
Status LiveSession::check_breakpoint() {
  if (breakpoints_.empty() || !ran_ || in_instruction_) return {};
  TRY_ASSIGN(bool undelivered, vcpu_.injection_pending());
  vm::GuestVirt at{vcpu_.quick_registers().linear_rip()};
  bool hit = !undelivered && std::count(breakpoints_.begin(), breakpoints_.end(), at) > 0 && stops_at(at);
  if (hit) stop_with({.kind = SessionStop::Kind::breakpoint});
  return {};
}

std::string LiveSession::why_read_only() const {
  return log_ != nullptr ? "the guest is being recorded; debug it with `dejavm run` to change its state" : "";
}

void LiveSession::stop_with(SessionStop stop) {
  if (!stop_) stop_ = std::move(stop);
}

tl::unexpected<Error> LiveSession::engine_failed(const Error& error) {
  dead_ = true;
  engine_error_ = error;
  return tl::make_unexpected(error);
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
    point_.reset();
    joins_.boundary();
  };
  at_exact_window_ = false;
  kicked_ = std::holds_alternative<vm::Interrupted>(exit);
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
                          // A KVM without exact windows would step to it, and some lose the step over IRET: there a state is
                          // surer.
                          at_exact_window_ = vcpu_.capabilities().exact_window && window_since_event_ && !options_.portable;
                          if (!machine_.interrupt_pending()) {  // its line fell meanwhile: nothing waits for the window
                            vcpu_.request_window(false);
                            window_requested_ = window_since_event_ = at_exact_window_ = false;
                          }
                          return {};
                        },
                        [&](const vm::Interrupted&) -> Status {
                          away();
                          if (vcpu_.interrupts_enabled()) window_since_event_ = false;  // the boundary here may be open
                          return {};
                        },
                        [&](const vm::StepLimit&) -> Status {
                          away();
                          return {};
                        },
                        [&](const vm::Stepped&) -> Status {
                          away();
                          window_since_event_ = false;  // the step may have passed the first open boundary
                          return {};
                        },
                        [&](const vm::BreakpointHit& hit) -> Status {
                          away();
                          if (stops_at(hit.at)) stop_with({.kind = SessionStop::Kind::breakpoint});
                          return {};
                        },
                        [&](const vm::WatchHit& hit) -> Status {
                          away();
                          window_since_event_ = false;  // a step may have passed the first open boundary
                          stop_with({.kind = SessionStop::Kind::watch, .watch = hit});
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
                          power_ = vm::PowerEvent{vm::PowerEvent::Kind::reset, kTripleFault, 0};
                          return {};
                        },
                    },
                    exit);
}

uint64_t LiveSession::access_device(const vm::Access& access) {
  vm::TimerQueue::Moment moment(machine_.timers());
  return machine_.bus().access(access);
}

Status LiveSession::handle_access(const vm::DeviceAccess& exit, bool certain) {
  vm::SeenAccess seen{exit.access, events_, std::nullopt};
  if (exit.instruction) seen.instruction = exit.instruction->value;
  bool joined = exit.joins_previous ? *exit.joins_previous : log_ != nullptr && joins_.next(exit.access, certain);
  if (options_.virtual_time != nullptr) options_.virtual_time->advance(VirtualTime::kNsPerAccess);
  uint64_t answer = access_device(exit.access);
  if (!exit.access.is_write()) {
    vcpu_.reply(answer);
    seen.access.value = answer;
  }
  in_instruction_ = true;
  if (log_ != nullptr) TRY(log_->append_access({seen.access, joined, seen.instruction}, time_us()));
  ++events_;
  moved_ = false;
  note_event_steps();
  point_.reset();
  window_since_event_ = window_requested_;
  history_.note(seen);
  if (const vm::AccessBreak* hit = breaks_.check(seen, devices_)) {
    stop_with({.kind = SessionStop::Kind::device, .seen = seen, .break_id = hit->id});
  }
  if (log_ != nullptr && !certain && !exit.joins_previous && joins_.write_may_continue()) return complete_instruction();
  return {};
}

Status LiveSession::handle_msr(const vm::MsrAccess& exit) {
  auto value = model_.read_msr(exit.index);
  if (!exit.write && rdtsc_.done() && rdtsc_.patched(vcpu_.rip())) value = machine_.timers().now_ns();
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
    ran_ = true;
    TRY_ASSIGN(vm::Exit exit, vcpu_.run(vm::RunMode::complete));
    if (const auto* access = std::get_if<vm::DeviceAccess>(&exit)) {
      TRY(handle_access(*access, true));
    } else {
      TRY(handle(exit));
    }
  }
  return {};
}

/// A kernel of 64 bits has its RIP in the last two GiB, where linear addresses are offsets.
Status LiveSession::patch_rdtsc() {
  constexpr uint64_t kKernelStart = 0xffffffff80000000;
  if (vcpu_.rip() < kKernelStart) return {};
  TRY(complete_instruction());
  if (moved_ || dead_) return {};
  if (!rdtsc_.attempt(vcpu_.quick_registers(), machine_.memory())) return {};
  TRY(log_status_);
  return append(trace::AnnotationEvent{rdtsc_.report()});
}

// ---- The log

Status LiveSession::append(trace::EventBody body) {
  bool numbered = trace::is_numbered(body);
  if (log_ != nullptr) TRY(log_->append({std::move(body), time_us()}));
  if (!numbered) return {};
  ++events_;
  moved_ = false;
  note_event_steps();
  at_exact_window_ = false;
  point_.reset();
  window_since_event_ = window_requested_;
  return {};
}

Status LiveSession::log_write(uint64_t offset, ByteSpan bytes) {
  TRY_ASSIGN(trace::Where where, here());
  return append(trace::MemoryWriteEvent{offset, Bytes(bytes.begin(), bytes.end()), std::move(where)});
}

/// Keeps the state that tells replay where something enters, before it does.
Status LiveSession::note_point() {
  if (log_ == nullptr || !moved_ || at_exact_window_ || counts_steps_ || point_ != nullptr) return {};
  CHECK(at_point_);  // devices hand over what changes memory
  uint64_t start = clock_.now_ns();
  TRY_ASSIGN(point_, capture());
  point_cost_ns_ = (point_cost_ns_ + (clock_.now_ns() - start)) / 2;
  return {};
}

Result<trace::Where> LiveSession::here() {
  if (!moved_ || log_ == nullptr) return trace::Where{};
  if (at_exact_window_) return trace::Where{trace::Placement::window, 0, nullptr};
  if (counts_steps_) return trace::Where{trace::Placement::steps, vcpu_.steps() - event_steps_, nullptr};
  TRY(note_point());
  return trace::Where{trace::Placement::state, 0, point_};
}

Result<std::shared_ptr<const trace::MatchedState>> LiveSession::capture() {
  TRY_ASSIGN(vm::CpuState cpu, vcpu_.state());
  TRY_ASSIGN(uint64_t ram, tracker_->refresh());
  return std::make_shared<const trace::MatchedState>(trace::MatchedState{cpu, ram});
}

Result<trace::End> LiveSession::finish(const std::string& reason) {
  trace::End end;
  if (log_ == nullptr) return end;
  end.events = events_;
  end.reason = reason;
  end.cpu_is_dead = dead_;
  if (!end.cpu_is_dead) {
    TRY_ASSIGN(auto state, capture());
    end.ram_digest = state->ram_digest;
    end.cpu_hash = vm::hash(state->cpu);
    if (moved_ && counts_steps_) {
      TRY_ASSIGN(end.where, here());
    } else if (moved_) {
      end.where = {trace::Placement::state, 0, state};
    }
  } else {
    TRY_ASSIGN(end.ram_digest, tracker_->refresh());
  }
  TRY(log_->finish(end));
  return end;
}

}  // namespace dejavm::record
