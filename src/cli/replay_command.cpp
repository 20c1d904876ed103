// dejavm replay: a recording again, without its devices.
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/parse.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/connections.h"
#include "cli/debug_target.h"
#include "cli/engine.h"
#include "cli/hand_over.h"
#include "cli/messages.h"
#include "cli/position.h"
#include "cli/qmp_guest.h"
#include "cli/register_options.h"
#include "cli/sandbox.h"
#include "replay/replayer.h"
#include "replay/timeline.h"

namespace dejavm::cli {
namespace {

struct ReplayCommand {
  std::string file, accel = "auto", until;
  ConnectionOptions connections;
  uint64_t from_keyframe = 0;  // 1-based; 0: from the start
  vm::RegisterMaps registers = registers::shipped();
  bool keep_going = false, json = false, quiet = false, help = false;
};

std::vector<Option> option_list(ReplayCommand& c) {
  std::vector<Option> list = {
      {"accel", "kvm|soft|auto", "the engine (default auto)", set_text(c.accel)},
      {"until", "POS", "stops at EVENT, EVENT+INSTRUCTIONS, @INSTRUCTIONS or end", set_text(c.until)},
      {"from-keyframe", "N", "starts at the Nth keyframe instead of the start",
       set_number(
           "--from-keyframe", [&c](uint64_t n) { c.from_keyframe = n; }, 1)},
      svd_option(c.registers),
      {"keep-going", "", "goes on after a state divergence", set_flag(c.keep_going)},
      {"json", "", "one JSON document on stdout at the end", set_flag(c.json)},
      {"quiet", "", "says only the summary and errors", set_flag(c.quiet)},
      {"help", "", "this text", set_flag(c.help)},
  };
  std::vector<Option> more = connection_option_list(c.connections);
  list.insert(list.end(), more.begin(), more.end());
  return list;
}

nlohmann::json to_json(const replay::Divergence& d) {
  return {{"kind", d.kind == replay::Divergence::Kind::access ? "access" : "state"},
          {"event", d.event},
          {"expected", d.expected},
          {"actual", d.actual},
          {"registers", d.registers},
          {"recent", d.recent},
          {"differing_pages", d.differing_pages},
          {"class", d.possible_class == replay::Divergence::Class::unknown ? nlohmann::json(nullptr)
                                                                           : nlohmann::json(name(d.possible_class))},
          {"evidence", d.evidence}};
}

struct Summary {
  uint64_t skipped, replayed, total, divergences;
  bool finished;
  std::optional<uint64_t> ram;  // none where the vCPU cannot tell any more
  double seconds;
  std::optional<Error> error;  // what ended it before its time
};

void report(const ReplayCommand& c, const Summary& s, const replay::Replayer& replayer, const trace::Reader& reader) {
  std::string ram = s.ram ? hash_text(*s.ram) : "unknown";
  nlohmann::json classes = nlohmann::json::object();
  std::vector<std::string> counts;
  for (auto one : {replay::Divergence::Class::rdtsc, replay::Divergence::Class::undefined_flags}) {
    uint64_t count = replayer.divergence_count(one);
    classes[name(one)] = count;
    if (count > 0) counts.push_back(fmt::format("{} of class {}", count, name(one)));
  }
  if (!c.json) {
    for (const replay::Divergence& d : replayer.divergences()) fmt::print(stderr, "{}", describe(d));
  } else {
    nlohmann::json json = {{"file", c.file},
                           {"skipped", s.skipped},
                           {"replayed", s.replayed},
                           {"events", s.total},
                           {"divergence_count", s.divergences},
                           {"divergence_classes", classes},
                           {"divergences", nlohmann::json::array()},
                           {"ram", ram},
                           {"seconds", s.seconds},
                           {"finished", s.finished},
                           {"sealed", reader.sealed()},
                           {"damage", reader.damage()}};
    if (reader.end() != nullptr) json["recorded_ram"] = hash_text(reader.end()->ram_digest);
    for (const replay::Divergence& d : replayer.divergences()) json["divergences"].push_back(to_json(d));
    if (s.error) json["error"] = s.error->what;
    fmt::print("{}\n", json_text(json));
  }
  if (s.skipped > 0) fmt::print(stderr, "skipped {} events before keyframe {}\n", s.skipped, c.from_keyframe);
  std::string of_classes = counts.empty() ? "" : fmt::format(" ({})", fmt::join(counts, ", "));
  fmt::print(stderr, "replayed {} of {} events, {} divergences{}, ram {}, {:.1f} s\n", s.replayed, s.total, s.divergences,
             of_classes, ram, s.seconds);
}

/// For somebody who is connected: whether all was found intact. `hand_over`: null on soft.
Result<bool> serve(const ReplayCommand& c, replay::Replayer& replayer, HandOver* hand_over, const trace::Reader& reader,
                   Connections& connections, const replay::CheckpointLimits& limits) {
  std::unique_ptr<replay::Timeline> own;
  if (hand_over == nullptr) {
    TRY_ASSIGN(own, replay::Timeline::create(replayer, reader, limits));
  }
  vm::Session& session = own ? static_cast<vm::Session&>(*own) : *hand_over;
  TimelineSource timelines = own ? TimelineSource(own.get()) : TimelineSource(hand_over);
  DebugTarget target(session, c.registers, &reader, timelines);
  QmpGuest guest(session, c.registers, c.file, &reader, timelines);
  const auto attendants = connections.attendants(guest);
  TRY(connections.server->serve(target, !c.connections.stopped, attendants));
  const replay::Timeline* timeline = timelines.now();
  if (timeline == nullptr) return true;
  if (timeline->keyframe_starts() > 0) {
    say(fmt::format("started from keyframes {} times: what lies before those was checked only where it was replayed",
                    timeline->keyframe_starts()));
  }
  for (const std::string& what : timeline->keyframe_damage()) say(what + "; it was not used");
  return timeline->keyframe_damage().empty();
}

Result<int> replay(const ReplayCommand& c) {
  TRY_ASSIGN(auto reader, trace::Reader::open(c.file));
  if (!c.quiet) {
    if (!reader->damage().empty()) {
      say(fmt::format("{}: {}; replaying what can be read", c.file, reader->damage()));
    } else if (!reader->sealed()) {
      say(fmt::format("{}: not sealed (its recorder was ended); replaying all {} events", c.file, reader->event_count()));
    }
  }
  replay::ReplayOptions options;
  options.keep_going = c.keep_going;
  if (!c.until.empty()) {
    TRY_ASSIGN(options.until, parse_position(c.until));
  }
  if (c.from_keyframe > 0) {
    if (c.from_keyframe > reader->keyframe_count()) {
      return fail_usage(fmt::format("{} has {} keyframes", c.file, reader->keyframe_count()));
    }
    options.from_keyframe = c.from_keyframe - 1;
  }
  MonotonicClock clock;
  TRY_ASSIGN(vm::GuestMemory memory, replay::load_memory(*reader, options.from_keyframe));
  TRY_ASSIGN(Engine engine, Engine::for_replay(c.accel, reader->description()));
  const vm::CpuModel& model = reader->description().cpu_model;
  TRY_ASSIGN(vm::CpuModel effective, engine.effective_model(model));
  if (effective.cpuid != model.cpuid)
    say("this host's KVM shows the guest other CPUID values than the recording has: a guest that reads them diverges");
  if (vm::differs_much(effective.kind, model.kind)) {
    say(fmt::format("this host's CPU leaves the undefined flags of {}, the recording's those of {}: the replay will diverge",
                    vm::name(effective.kind), vm::name(model.kind)));
  }
  TRY_ASSIGN(std::optional<uint64_t> steps, replay::steps_at_start(*reader, options.from_keyframe));
  TRY_ASSIGN(auto vcpu, engine.create_vcpu(memory, model, steps.value_or(0)));
  if (!c.quiet) say("engine: " + engine.description());
  if (!steps && engine.is_soft() && reader->description().engine.starts_with("soft")) {
    say(fmt::format("keyframe {} does not say how many instructions ran before it: a guest that reads RDTSC diverges",
                    c.from_keyframe));
  }
  TRY_ASSIGN(Connections connections, Connections::open(c.connections, "replay"));
  TRY_ASSIGN(auto replayer, replay::Replayer::create(*reader, *vcpu, memory, clock, options));
  auto skipped = static_cast<uint64_t>(replayer->last_event() + 1);
  const replay::CheckpointLimits limits;
  std::unique_ptr<HandOver> hand_over;
  if (connections.server && !engine.is_soft()) {
    TRY_ASSIGN(hand_over, HandOver::create(*replayer, *reader, clock, options, limits));
  }
  TRY(enter_sandbox());

  uint64_t start = clock.now_ns();
  Result<bool> ran = true;
  if (connections.server) {
    ran = serve(c, *replayer, hand_over.get(), *reader, connections, limits);
  } else if (auto stop = replayer->resume(vm::ResumeFor::go); !stop) {
    ran = tl::make_unexpected(stop.error());
  }
  replay::Replayer& last = hand_over ? hand_over->replayer() : *replayer;
  auto ram = last.ram_digest();
  // A divergence on KVM is one, whatever soft says afterwards.
  const replay::Replayer& told = last.divergence_count() > 0 ? last : *replayer;
  Summary summary{.skipped = skipped,
                  .replayed = static_cast<uint64_t>(last.last_event() + 1) - skipped,
                  .total = reader->event_count(),
                  .divergences = told.divergence_count(),
                  .finished = last.finished(),
                  .ram = ram ? std::optional(*ram) : std::nullopt,
                  .seconds = static_cast<double>(clock.now_ns() - start) / 1e9,
                  .error = {}};
  if (ran && !ram) ran = tl::make_unexpected(ram.error());
  if (!ran) summary.error = ran.error();
  report(c, summary, told, *reader);
  if (!ran) return tl::make_unexpected(ran.error());
  if (summary.divergences > 0) return kDiverged;
  return reader->damage().empty() && *ran ? kDone : kDamaged;
}

}  // namespace

Result<int> replay_command(const Words& words) {
  ReplayCommand c;
  TRY(parse_options(words, option_list(c), one_trace(c.file)));
  if (c.help) {
    fmt::print(
        "Usage: dejavm replay FILE [options]\nReplays a recording without its devices and checks all that the guest "
        "does.\n\n{}\n"
        "Example:\n  dejavm replay bios.dvt\n  dejavm replay bios.dvt -S -s      (then: gdb -ex 'target remote :1234')\n",
        help_text(option_list(c)));
    return kDone;
  }
  if (c.file.empty()) return fail_usage("replay wants a trace", "For example: dejavm replay guest.dvt");
  return replay(c);
}

}  // namespace dejavm::cli
