#include "replay/replayer.h"

#include <algorithm>

#include "base/check.h"
#include "base/overloaded.h"
#include "replay/keyframes.h"
#include "trace/event_text.h"
#include "vm/instruction.h"

namespace dejavm::replay {

using vm::SessionStop;

namespace {

constexpr uint64_t kSlowdown = 200;  // how much longer than at its recording an event may take
constexpr uint64_t kLookUpNs = 1'000'000'000;
constexpr uint64_t kComingBy = 20;  // ReplayOptions::patience_ns
constexpr uint64_t kUnknownGapUs = 10'000'000;

/// One line about what the guest did.
std::string describe_exit(const vm::Exit& exit, const std::vector<vm::DeviceRegion>& devices) {
  return std::visit(
      Overloaded{
          [&](const vm::DeviceAccess& e) {
            std::optional<uint64_t> rip;
            if (e.instruction) rip = e.instruction->value;
            std::string text = trace::describe(trace::EventBody{trace::AccessEvent{e.access, false, rip}}, devices);
            return e.access.is_write() ? text : fmt::format("{} (a read; its value would come from the trace)", text);
          },
          [](const vm::MsrAccess& e) {
            return fmt::format("{} {:#x}{}", e.write ? "wrmsr" : "rdmsr", e.index,
                               e.write ? fmt::format(" <- {:#x}", e.value) : "");
          },
          [](const vm::Halted&) { return std::string("halt"); },
          [](const vm::Shutdown&) { return std::string("triple fault"); },
          [](const auto&) { return std::string("the guest runs on"); },
      },
      exit);
}

/// A map that a trace claims; `place` says where it stands.
Status set_map(vm::GuestMemory& memory, const std::vector<vm::MemoryRange>& map, const std::string& place) {
  Status set = memory.set_map(map);
  return set ? set : fail_damaged(fmt::format("{}: {}", place, set.error().what), set.error().next);
}

}  // namespace

Result<vm::GuestMemory> load_memory(const trace::Reader& reader, std::optional<size_t> from_keyframe) {
  const trace::Description& d = reader.description();
  TRY_ASSIGN(vm::GuestMemory memory, vm::GuestMemory::create(d.ram_size, d.rom_size));
  TRY(set_map(memory, d.memory, "the initial memory map of the trace is damaged"));
  TRY(reader.load_initial_memory(memory));
  if (from_keyframe) {
    TRY_ASSIGN(trace::Keyframe keyframe, reader.read_keyframe(*from_keyframe));
    TRY(reader.load_keyframe_memory(*from_keyframe, memory));
    TRY(set_map(memory, keyframe.memory, fmt::format("the memory map of keyframe {} is damaged", *from_keyframe + 1)));
  }
  return memory;
}

Result<std::optional<uint64_t>> steps_at_start(const trace::Reader& reader, std::optional<size_t> from_keyframe) {
  if (!from_keyframe) return 0;
  TRY_ASSIGN(trace::Keyframe keyframe, reader.read_keyframe(*from_keyframe));
  if (!keyframe.steps) return std::nullopt;
  return keyframe.steps->here;
}

Replayer::Replayer(const trace::Reader& reader, vm::Vcpu& vcpu, vm::GuestMemory& memory, const Clock& clock,
                   ReplayOptions options)
    : reader_(reader),
      vcpu_(vcpu),
      memory_(memory),
      clock_(clock),
      options_(options),
      cursor_(reader),
      devices_(reader.description().devices) {}

Result<std::unique_ptr<Replayer>> Replayer::create(const trace::Reader& reader, vm::Vcpu& vcpu, vm::GuestMemory& memory,
                                                   const Clock& clock, ReplayOptions options) {
  std::unique_ptr<Replayer> replayer(new Replayer(reader, vcpu, memory, clock, options));
  TRY_ASSIGN(replayer->waker_, Waker::create(clock, [&vcpu] { vcpu.kick(); }));
  vm::CpuState cpu = reader.description().cpu;
  std::optional<trace::StepCounts> counts;
  std::optional<trace::Keyframe> keyframe;
  if (!options.from_keyframe) counts = trace::StepCounts{};
  if (options.from_keyframe) {
    TRY_ASSIGN(keyframe, reader.read_keyframe(*options.from_keyframe));
    cpu = keyframe->cpu;
    counts = keyframe->steps;
    replayer->devices_ = keyframe->devices;
    TRY(replayer->cursor_.seek(keyframe->after_event));
  }
  if (options.until && options.until->from_start && (!vcpu.capabilities().exact_steps || !counts)) {
    return fail_usage("a count of instructions wants the soft engine, and a start of which the count is known",
                      "Replay with -accel soft and without --from-keyframe, or say EVENT+INSTRUCTIONS.");
  }
  TRY(vcpu.set_state(cpu));
  replayer->start_steps_ = replayer->event_steps_ = vcpu.steps();
  replayer->counts_from_start_ = counts && vcpu.capabilities().exact_steps;
  if (replayer->counts_from_start_) {
    CHECK(vcpu.steps() == counts->here);  // steps_at_start()
    replayer->start_steps_ = 0;
    replayer->event_steps_ = counts->last_event;
  }
  replayer->tracker_.emplace(vcpu, memory);
  replayer->note_agreement();
  if (keyframe) {
    TRY_ASSIGN(auto digest, digest_at(reader, *options.from_keyframe, *keyframe));
    if (digest) {
      TRY_ASSIGN(uint64_t ram, replayer->tracker_->refresh());
      TRY(check_keyframe(*options.from_keyframe, *keyframe, *digest, ram));
    }
  }
  TRY_ASSIGN(replayer->next_, replayer->cursor_.peek());
  return replayer;
}

Result<SessionStop> Replayer::resume(vm::ResumeFor what) {
  if (ended_) return *ended_;
  stop_.reset();
  ran_ = std::exchange(look_at_start_, false);
  give_up_at_ns_ = clock_.now_ns() + patience();
  while (!stop_) {
    if (position_reached()) {
      TRY(settle());
      if (!stop_) stop_with({.kind = SessionStop::Kind::position});
      break;
    }
    if (pause_due()) {
      TRY(pause_here());
      continue;
    }
    TRY(advance(what != vm::ResumeFor::go));
  }
  waker_->set_deadline(std::nullopt);
  look_up_at_ns_ = 0;
  if (stop_->kind != SessionStop::Kind::diverged) TRY(complete_instruction());
  if (ended_) return *ended_;
  return *stop_;
}

void Replayer::interrupt() {
  interrupt_wanted_.store(true);
  waker_->demand();
}

Status Replayer::set_breakpoints(const std::vector<vm::GuestVirt>& addresses) {
  user_breakpoints_ = addresses;
  return arm_breakpoints(nullptr);
}

void Replayer::stop_with(SessionStop stop) {
  if (!stop_) stop_ = std::move(stop);
}

/// Takes the next event, or runs the guest towards it.
Status Replayer::advance(bool stepping) {
  if (next_ == nullptr) return finish(stepping);
  const trace::EventBody& body = next_->body;
  if (!trace::is_numbered(body)) {
    if (const auto* digest = std::get_if<trace::DigestEvent>(&body)) {
      TRY(complete_instruction());
      if (!ended_) TRY(compare_digest(*digest));
    }
    return take();
  }
  const auto* reset = std::get_if<trace::ResetEvent>(&body);
  const trace::Where* where = trace::where_of(body);
  bool placed =
      where != nullptr || (reset != nullptr && !reset->triple_fault) || std::holds_alternative<trace::CpuStateEvent>(body);
  if (!placed) return run_guest(stepping);
  TRY(complete_instruction());
  if (stop_) return {};
  if (where != nullptr) {
    TRY_ASSIGN(bool there, at_place(*where));
    if (!there) return approach(*where, stepping);
  }
  return apply(*next_);
}

Status Replayer::take() {
  bool numbered = trace::is_numbered(next_->body);
  if (numbered) {
    last_time_us_ = next_->time_us;
    steps_before_event_ = steps();
    steps_ = 0;
    event_steps_ = vcpu_.steps() + (in_instruction_ ? 1 : 0);
  }
  TRY(cursor_.next());
  TRY_ASSIGN(next_, cursor_.peek());
  if (numbered) give_up_at_ns_ = clock_.now_ns() + patience();
  return {};
}

uint64_t Replayer::patience() {
  // How long the guest ran on to the end after the last event is not recorded.
  bool unknown = next_ == nullptr || !reader_.description().has_time;
  uint64_t gap_us = unknown ? kUnknownGapUs : next_->time_us - std::min(next_->time_us, last_time_us_);
  return options_.patience_ns + std::min<uint64_t>(gap_us, 3'600'000'000) * 1000 * kSlowdown;
}

// ---- Running

/// Runs until the next event that the guest makes, and checks it.
Status Replayer::run_guest(bool stepping) {
  bool single = !limit_steps(std::nullopt) || stepping;
  if (single && in_instruction_) return complete_instruction();
  if (!stepping) TRY(check_breakpoint());
  if (stop_) return {};
  TRY_ASSIGN(vm::Exit exit, run_watched(single ? vm::RunMode::step : vm::RunMode::free));
  TRY(check_exit(exit));
  if (!single || stop_ || std::holds_alternative<vm::Interrupted>(exit)) return {};
  TRY(complete_instruction());
  if (stepping) stop_with({.kind = SessionStop::Kind::step});
  if (!stop_ && std::holds_alternative<vm::Stepped>(exit)) return check_patience();  // a kick does not end a step
  return {};
}

/// Has the guest left now and then, so that one that never exits is noticed (check_patience()). Every event moves the moment
/// to give up, and to wake the waker's thread for each would cost more than many a run.
void Replayer::watch_for_silence() {
  uint64_t now = clock_.now_ns();
  if (now < look_up_at_ns_) return;
  look_up_at_ns_ = now + std::min(options_.patience_ns, kLookUpNs);
  waker_->set_deadline(look_up_at_ns_);
}

/// Runs, and sees to it that a guest that never exits is noticed.
Result<vm::Exit> Replayer::run_watched(vm::RunMode mode) {
  watch_for_silence();
  in_instruction_ = false;
  ran_ = true;
  auto exit = vcpu_.run(mode);
  if (exit) return exit;
  Error error = exit.error();
  TRY(diverge(Divergence::Kind::access, expectation(), error.what));
  return vm::Exit{vm::Interrupted{}};
}

Status Replayer::check_exit(const vm::Exit& exit) {
  if (ended_) return {};
  auto unexpected = [&] { return diverge(Divergence::Kind::access, expectation(), describe_exit(exit, devices_)); };
  return std::visit(Overloaded{
                        [&](const vm::DeviceAccess& access) { return check_access(access); },
                        [&](const vm::MsrAccess& access) { return check_msr(access); },
                        [&](const vm::Halted&) -> Status {
                          in_instruction_ = false;
                          if (next_ == nullptr || !std::holds_alternative<trace::HaltEvent>(next_->body))
                            return unexpected();
                          return take();
                        },
                        [&](const vm::Shutdown&) -> Status {
                          in_instruction_ = false;
                          const auto* reset = next_ != nullptr ? std::get_if<trace::ResetEvent>(&next_->body) : nullptr;
                          if (reset == nullptr || !reset->triple_fault) return unexpected();
                          return apply(*next_);
                        },
                        [&](const vm::BreakpointHit& hit) -> Status {
                          in_instruction_ = false;
                          if (!quiet_ && breaks_at(hit.at)) stop_with({.kind = SessionStop::Kind::breakpoint});
                          return {};
                        },
                        [&](const vm::Interrupted&) -> Status {
                          in_instruction_ = false;
                          return check_patience();
                        },
                        [&](const vm::Completed&) -> Status {
                          in_instruction_ = false;
                          return {};
                        },
                        [&](const vm::WatchHit& hit) -> Status {
                          in_instruction_ = false;
                          stop_with({.kind = SessionStop::Kind::watch, .watch = hit});
                          return {};
                        },
                        [&](const vm::Stepped&) -> Status {
                          in_instruction_ = false;
                          ++steps_;
                          return {};
                        },
                        [&](const vm::WindowOpen&) -> Status {
                          in_instruction_ = false;
                          return {};
                        },
                        [&](const vm::StepLimit&) -> Status {
                          in_instruction_ = false;
                          return {};
                        },
                    },
                    exit);
}

/// Nothing happened: has the user had enough, or have we?
Status Replayer::check_patience() {
  TRY_ASSIGN(bool undelivered, vcpu_.injection_pending());
  if (interrupt_wanted_.load() && !undelivered) {
    interrupt_wanted_.store(false);
    waker_->rearm();
    stop_with({.kind = SessionStop::Kind::interrupted});
    return {};
  }
  uint64_t now = clock_.now_ns();
  bool comes_by = now - came_by_at_ns_ < kLookUpNs;
  if (now < give_up_at_ns_ + (comes_by ? (kComingBy - 1) * options_.patience_ns : 0)) return {};
  return diverge(Divergence::Kind::access, expectation(), "the guest runs on and this event does not come");
}

Status Replayer::check_access(const vm::DeviceAccess& exit) {
  const auto* event = next_ != nullptr ? std::get_if<trace::AccessEvent>(&next_->body) : nullptr;
  vm::Access found = exit.access;
  if (event != nullptr && !found.is_write()) found.value = event->access.value;
  if (event == nullptr || found != event->access) {
    return diverge(Divergence::Kind::access, expectation(), describe_exit(exit, devices_));
  }
  vm::SeenAccess seen{event->access, cursor_.next_number(), event->instruction};
  if (!seen.instruction && exit.instruction) seen.instruction = exit.instruction->value;
  if (!found.is_write()) vcpu_.reply(event->access.value);
  in_instruction_ = true;
  TRY(take());
  history_.note(seen);
  if (quiet_) return {};
  if (const vm::AccessBreak* hit = breaks_.check(seen, devices_)) {
    stop_with({.kind = SessionStop::Kind::device, .seen = seen, .break_id = hit->id});
  }
  return {};
}

Status Replayer::check_msr(const vm::MsrAccess& exit) {
  const auto* event = next_ != nullptr ? std::get_if<trace::CpuReadEvent>(&next_->body) : nullptr;
  if (event == nullptr || event->msr != exit.index || event->write != exit.write ||
      (exit.write && event->value != exit.value)) {
    return diverge(Divergence::Kind::access, expectation(), describe_exit(exit, devices_));
  }
  if (event->fault) {
    vcpu_.reply_fault();
  } else {
    vcpu_.reply(event->value);
  }
  in_instruction_ = true;
  return take();
}

Status Replayer::complete_instruction() {
  while (in_instruction_ && !ended_) {
    ran_ = true;
    TRY_ASSIGN(vm::Exit exit, vcpu_.run(vm::RunMode::complete));
    TRY(check_exit(exit));
  }
  return {};
}

}  // namespace dejavm::replay
