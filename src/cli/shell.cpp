#include "cli/shell.h"

#include <algorithm>
#include <set>

#include "base/parse.h"
#include "cli/event_filter.h"
#include "cli/messages.h"
#include "cli/position.h"
#include "cli/sandbox.h"
#include "trace/event_text.h"
#include "vm/instruction.h"
#include "vm/translate.h"

namespace dejavm::cli {

/// A replay with all that it borrows, in the order of their lives.
struct Shell::Replay {
  explicit Replay(vm::GuestMemory ram) : memory(std::move(ram)) {}

  MonotonicClock clock;
  vm::GuestMemory memory;
  std::unique_ptr<vm::Vcpu> vcpu;
  std::unique_ptr<replay::Replayer> replayer;
  std::unique_ptr<replay::Timeline> timeline;  // where the engine counts steps
  std::unique_ptr<Monitor> monitor;

  vm::Session& session() { return timeline ? static_cast<vm::Session&>(*timeline) : *replayer; }
  std::vector<vm::GuestVirt> breakpoints;
};

Shell::Shell(vm::RegisterMaps registers) : registers_(std::move(registers)) {}
Shell::~Shell() = default;

std::string Shell::help() {
  return "open FILE                          opens a trace; not after a replay began: it runs in a sandbox\n"
         "info                               what it is\n"
         "events [N] [FILTERS]               lists events (20, or N), e.g. events --device edu --write --from 100\n"
         "run [until POS]                    replays to the next stop, the end, or POS (EVENT or EVENT+INSTRUCTIONS)\n"
         "step [N]                           replays N instructions\n"
         "back [N] | back run                goes N instructions back, or to the stop before this one (soft)\n"
         "goto POS                           goes to POS, forward or backward\n"
         "break ADDR | delete                breakpoints on instructions\n"
         "mem ADDR [LENGTH]                  memory at a virtual address\n"
         "disas [ADDR] [N]                   instructions at an address (default: here)\n" +
         Monitor::help() + "quit\n";
}

std::vector<std::string> Shell::candidates() const {
  std::vector<std::string> words = {"open", "info",  "events", "run",  "until", "step", "back",
                                    "goto", "break", "delete", "mem",  "disas", "help", "quit",
                                    "list", "last",  "value",  "size", "count", "phys", "virt"};
  words.insert(words.end(), Monitor::words().begin(), Monitor::words().end());
  std::set<std::string> devices;
  if (replay_) {
    for (const auto& region : replay_->replayer->devices()) devices.insert(region.device);
  } else if (reader_) {
    for (const auto& region : reader_->description().devices) devices.insert(region.device);
  }
  words.insert(words.end(), devices.begin(), devices.end());
  return words;
}

std::string Shell::execute(std::string_view line) {
  auto words = dejavm::words(line);
  if (words.empty()) return {};
  return perform([&] { return dispatch(words, line); });
}

std::string Shell::open_trace(const std::string& file) {
  return perform([&] { return open(file); });
}

std::string Shell::perform(const std::function<Result<std::string>()>& command) {
  failed_ = false;
  {
    std::lock_guard lock(mutex_);
    executing_ = true;
    interrupted_ = false;
  }
  auto result = command();
  {
    std::lock_guard lock(mutex_);
    executing_ = false;
  }
  std::string text;
  if (result) {
    text = *result;
  } else {
    failed_ = true;
    damaged_ = damaged_ || result.error().kind == ErrorKind::damaged;
    text = "error: " + result.error().what + "\n";
    if (!result.error().next.empty()) text += result.error().next + "\n";
  }
  ever_failed_ = ever_failed_ || failed_;
  return text;
}

ExitStatus Shell::exit_status() const {
  if (diverged_) return kDiverged;
  if (damaged_) return kDamaged;
  return ever_failed_ ? kFailed : kDone;
}

bool Shell::interrupt() {
  std::lock_guard lock(mutex_);
  if (!executing_) return false;
  interrupted_ = true;
  if (running_ != nullptr) running_->interrupt();
  return true;
}

Result<std::string> Shell::dispatch(const Arguments& words, std::string_view line) {
  std::string_view verb = words[0];
  if (verb == "help") return help();
  if (verb == "quit" || verb == "exit" || verb == "q") {
    quit_ = true;
    return std::string();
  }
  if (verb == "open") {
    if (words.size() != 2) return fail_usage("open wants one file", "For example: open bios.dvt");
    return open(std::string(words[1]));
  }
  if (reader_ == nullptr) return fail_usage("no trace is open", "`open FILE` opens one.");
  if (verb == "info" && words.size() == 1) return info();
  if (verb == "events") return events(words);
  if (verb == "run" || verb == "continue" || verb == "c") return run(words);
  if (verb == "step" || verb == "s" || verb == "stepi") return step(words);
  if (verb == "back") return back(words);
  if (verb == "goto") return goto_event(words);
  if (verb == "mem") return memory(words);
  if (verb == "disas") return disassemble(words);
  if (verb == "break" || verb == "delete") return breakpoint(words);
  if (!Monitor::knows(verb)) {
    return fail_usage(fmt::format("unknown command '{}'", verb), "`help` lists the commands.");
  }
  TRY_ASSIGN(Replay * replay_now, replay());
  std::string text = replay_now->monitor->execute(line);
  failed_ = text.starts_with("error: ");
  return text;
}

// ---- Browsing

Result<std::string> Shell::open(const std::string& file) {
  if (sandboxed_) {
    return fail("a replay began: this shell runs in a sandbox and opens no more files",
                fmt::format("In another terminal: dejavm shell {}", file));
  }
  TRY_ASSIGN(auto reader, trace::Reader::open(file));
  damaged_ = damaged_ || !reader->damage().empty();
  reader_ = std::move(reader);
  file_ = file;
  return info();
}

Result<std::string> Shell::info() const {
  const trace::Description& d = reader_->description();
  std::string text = fmt::format("{}: {} events, {} RAM, machine {}, recorded on {}\n", file_, reader_->event_count(),
                                 size_text(d.ram_size), d.machine, d.engine);
  if (!reader_->damage().empty()) text += "damage: " + reader_->damage() + "\n";
  text +=
      reader_->end() != nullptr ? fmt::format("end: {}\n", reader_->end()->reason) : "not sealed: its recorder was ended\n";
  return text;
}

Result<std::string> Shell::events(const Arguments& words) const {
  EventFilter filter;
  uint64_t limit = 20;
  std::vector<std::string> rest(words.begin() + 1, words.end());
  TRY(parse_options(rest, filter.options(), [&](std::string_view word) -> Status {
    auto number = parse_u64(word);
    if (!number)
      return fail_usage(fmt::format("'{}' is neither a number nor a filter", word), "For example: events 50 --device edu");
    limit = *number;
    return {};
  }));
  TRY(replay_ ? filter.resolve(replay_->replayer->devices()) : filter.resolve(*reader_));
  std::string text;
  uint64_t shown = 0;
  TRY(for_each_event(*reader_, filter, [&](const ListedEvent& listed) {
    if (shown++ == limit || interrupted_) {
      text += interrupted_ ? "interrupted\n" : "...\n";
      return false;
    }
    text += fmt::format("{:>9} {}\n", listed.number ? std::to_string(*listed.number) : "-",
                        trace::describe(listed.event.body, listed.devices));
    return true;
  }));
  return text;
}

// ---- Running

Result<Shell::Replay*> Shell::replay() {
  if (replay_) return replay_.get();
  TRY_ASSIGN(vm::GuestMemory memory, replay::load_memory(*reader_));
  if (!engine_) {
    TRY_ASSIGN(engine_, Engine::for_replay("auto", reader_->description()));
  }
  auto fresh = std::make_unique<Replay>(std::move(memory));
  TRY_ASSIGN(fresh->vcpu, engine_->create_vcpu(fresh->memory, reader_->description().cpu_model));
  TRY_ASSIGN(fresh->replayer, replay::Replayer::create(*reader_, *fresh->vcpu, fresh->memory, fresh->clock, {}));
  if (fresh->vcpu->capabilities().exact_steps) {
    TRY_ASSIGN(fresh->timeline, replay::Timeline::create(*fresh->replayer, *reader_, limits_));
  }
  fresh->monitor = std::make_unique<Monitor>(fresh->session(), registers_, reader_.get(), fresh->timeline.get());
  if (!sandboxed_) TRY(enter_sandbox());
  sandboxed_ = true;
  replay_ = std::move(fresh);
  return replay_.get();
}

Result<vm::SessionStop> Shell::interruptibly(const std::function<Result<vm::SessionStop>(vm::Session&)>& run) {
  vm::Session& session = replay_->session();
  {
    std::lock_guard lock(mutex_);
    running_ = &session;
    if (interrupted_) session.interrupt();
  }
  auto stop = run(session);
  std::lock_guard lock(mutex_);
  running_ = nullptr;
  return stop;
}

Result<std::string> Shell::stop_text(const vm::SessionStop& stop) {
  using Kind = vm::SessionStop::Kind;
  replay::Replayer& replayer = *replay_->replayer;
  if (stop.kind == Kind::ended) {
    TRY_ASSIGN(uint64_t ram, replayer.ram_digest());
    return fmt::format("end of the recording after {} events ({}), ram {}\n", replayer.last_event() + 1, stop.reason,
                       hash_text(ram));
  }
  if (stop.kind == Kind::diverged) {
    diverged_ = true;
    return stop.reason;
  }
  TRY_ASSIGN(vm::CpuState cpu, replay_->vcpu->state());
  std::string text;
  if (stop.kind == Kind::device) text = replay_->monitor->access_lines(stop.seen);
  if (stop.kind == Kind::watch) {
    text = vm::watch_line(stop.watch, replayer.watches().count(stop.watch).what, replayer.last_event()) + "\n";
  }
  if (stop.kind == Kind::interrupted) text = "interrupted\n";
  if (stop.kind == Kind::began) text = "the beginning of the replay\n";
  uint8_t bytes[15];
  size_t got = vm::read_virtual(cpu, replay_->memory, {cpu.linear_rip()}, bytes);
  return text + fmt::format("after event {}, rip {:#x}: {}\n", replayer.last_event(), cpu.linear_rip(),
                            vm::disassemble({bytes, got}, cpu.code_bits(), {cpu.linear_rip()}));
}

Result<std::string> Shell::run(const Arguments& words) {
  std::optional<replay::Position> until;
  if (words.size() == 3 && words[1] == "until") {
    TRY_ASSIGN(until, parse_position(words[2]));
  } else if (words.size() != 1) {
    return fail_usage("run takes nothing or `until POS`", "For example: run until 1000");
  }
  TRY_ASSIGN(Replay * now, replay());
  if (until && until->from_start && !now->vcpu->capabilities().exact_steps) {
    return fail_usage("this engine does not count instructions", "Say EVENT or EVENT+INSTRUCTIONS.");
  }
  now->replayer->set_until(until);
  TRY_ASSIGN(vm::SessionStop stop, interruptibly([](vm::Session& session) { return session.resume(vm::ResumeFor::go); }));
  return stop_text(stop);
}

Result<std::string> Shell::step(const Arguments& words) {
  auto count = words.size() > 1 ? parse_u64(words[1]) : 1;
  if (!count || *count == 0 || words.size() > 2)
    return fail_usage("step takes a number of instructions", "For example: step 10");
  TRY_ASSIGN(Replay * now, replay());
  now->replayer->set_until(std::nullopt);
  vm::SessionStop stop{.kind = vm::SessionStop::Kind::step};
  for (uint64_t i = 0; i < *count && !interrupted_; ++i) {
    TRY_ASSIGN(stop, now->session().resume(vm::ResumeFor::step));
    if (stop.kind != vm::SessionStop::Kind::step) break;
  }
  if (interrupted_ && stop.kind == vm::SessionStop::Kind::step) stop.kind = vm::SessionStop::Kind::interrupted;
  return stop_text(stop);
}

Result<std::string> Shell::back(const Arguments& words) {
  bool to_stop = words.size() == 2 && words[1] == "run";
  auto count = words.size() == 2 && !to_stop ? parse_u64(words[1]) : 1;
  if (!count || *count == 0 || words.size() > 2)
    return fail_usage("back takes a number of instructions, or run", "For example: back 10");
  TRY(replay());
  using Kind = vm::SessionStop::Kind;
  vm::SessionStop stop{.kind = Kind::step};
  for (uint64_t i = 0; i < *count && stop.kind == Kind::step && !interrupted_; ++i) {
    TRY_ASSIGN(stop, interruptibly([&](vm::Session& session) {
                 return session.reverse(to_stop ? vm::ReverseFor::go : vm::ReverseFor::step);
               }));
  }
  if (interrupted_ && stop.kind == Kind::step) stop.kind = Kind::interrupted;
  return stop_text(stop);
}

Result<std::string> Shell::goto_event(const Arguments& words) {
  if (words.size() != 2) return fail_usage("goto wants a position", "For example: goto 1000");
  TRY_ASSIGN(auto position, parse_position(words[1]));
  TRY_ASSIGN(Replay * present, replay());
  if (present->timeline) {
    TRY_ASSIGN(vm::SessionStop stop, interruptibly([&](vm::Session&) { return present->timeline->seek(position); }));
    return stop_text(stop);
  }
  auto passed = [&](const replay::Replayer& now) {
    if (now.finished() || !position) return true;
    return position->from_start ? now.total_steps() > position->steps : now.last_event() >= position->event;
  };
  if (passed(*present->replayer)) {
    auto breaks = replay_->replayer->breaks().list();
    auto breakpoints = replay_->breakpoints;
    auto watches = replay_->replayer->watches().list();
    replay_.reset();
    TRY_ASSIGN(Replay * fresh, replay());
    for (auto& one : breaks) fresh->replayer->breaks().add(one.filter, one.skip);
    for (auto& one : watches) TRY(fresh->replayer->watches().add(*fresh->vcpu, one.what, one.listed));
    fresh->breakpoints = breakpoints;
    TRY(fresh->replayer->set_breakpoints(breakpoints));
  }
  std::string text(words[1]);
  return run({"run", "until", text});
}

// ---- Looking

Result<std::string> Shell::memory(const Arguments& words) {
  auto addr = words.size() > 1 ? parse_u64(words[1]) : std::nullopt;
  auto length = words.size() > 2 ? parse_u64(words[2]) : 64;
  if (!addr || !length || *length == 0 || *length > 65536) {
    return fail_usage("mem wants an address and perhaps a length of at most 65536", "For example: mem 0x101000 32");
  }
  TRY_ASSIGN(Replay * now, replay());
  TRY_ASSIGN(vm::CpuState cpu, now->vcpu->state());
  Bytes bytes(*length);
  bytes.resize(vm::read_virtual(cpu, now->memory, {*addr}, bytes));
  if (bytes.empty()) return fail(fmt::format("{:#x} is not mapped memory here", *addr));
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += 16) {
    std::string hex, ascii;
    for (size_t i = at; i < std::min(at + 16, bytes.size()); ++i) {
      hex += fmt::format("{:02x} ", bytes[i]);
      ascii += bytes[i] >= 32 && bytes[i] < 127 ? static_cast<char>(bytes[i]) : '.';
    }
    text += fmt::format("{:#012x}  {:<48} {}\n", *addr + at, hex, ascii);
  }
  return text;
}

Result<std::string> Shell::disassemble(const Arguments& words) {
  TRY_ASSIGN(Replay * now, replay());
  TRY_ASSIGN(vm::CpuState cpu, now->vcpu->state());
  auto addr = words.size() > 1 ? parse_u64(words[1]) : cpu.linear_rip();
  auto count = words.size() > 2 ? parse_u64(words[2]) : 8;
  if (!addr || !count || *count > 1000)
    return fail_usage("disas wants an address and perhaps a count", "For example: disas 0x100000 5");
  std::string text;
  for (uint64_t i = 0; i < *count; ++i) {
    uint8_t bytes[15];
    size_t got = vm::read_virtual(cpu, now->memory, {*addr}, bytes);
    auto info = vm::decode_instruction({bytes, got}, cpu.code_bits());
    text += fmt::format("{} {:#x}: {}\n", *addr == cpu.linear_rip() ? "=>" : "  ", *addr,
                        vm::disassemble({bytes, got}, cpu.code_bits(), {*addr}));
    if (!info) break;
    *addr += info->length;
  }
  return text;
}

Result<std::string> Shell::breakpoint(const Arguments& words) {
  TRY_ASSIGN(Replay * now, replay());
  if (words[0] == "delete") {
    now->breakpoints.clear();
    TRY(now->replayer->set_breakpoints({}));
    return std::string("all breakpoints deleted\n");
  }
  auto addr = words.size() == 2 ? parse_u64(words[1]) : std::nullopt;
  if (!addr) return fail_usage("break wants an address", "For example: break 0x100040; device accesses: mmio break edu");
  auto wanted = now->breakpoints;
  wanted.push_back({*addr});
  TRY(now->replayer->set_breakpoints(wanted));
  now->breakpoints = wanted;
  return fmt::format("breakpoint at {:#x}\n", *addr);
}

}  // namespace dejavm::cli
