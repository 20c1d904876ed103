// Runs back over the stops of a replay, breakpoints and accesses to devices together, and compares with those that a run
// straight forward has; and asks who wrote memory last. All of it twice, in timelines that know nothing but the trace: one
// that goes on from its keyframes and one that may not. Exit status: 0 when all are equal, 3 when not, 1 for a failure.
//
//   travel_back TRACE PORT
//
// Stops are at writes to PORT, where the first interrupt's handler begins, and at some passes of an instruction that runs
// often.
#include <cstring>

#include "base/parse.h"
#include "replay/timeline.h"
#include "support/soft_replay.h"

namespace dejavm::integration {
namespace {

using replay::Position;
using Kind = vm::SessionStop::Kind;

constexpr uint64_t kSpacing = 200'000;  // work between checkpoints, and what a keyframe must save
constexpr uint64_t kPassesApart = 997;  // steps: which passes of the instruction count
constexpr size_t kMostAddresses = 16;   // that are asked about

/// A stop as it is told of backward.
struct Told {
  Kind kind = Kind::breakpoint;
  uint64_t total_steps = 0;
  int64_t event = 0;  // the last one, or that of the access
  bool operator==(const Told&) const = default;
};

/// What a run forward knows.
struct Plan {
  vm::AccessFilter accesses;
  vm::GuestVirt handler, often;
  uint64_t total_steps = 0;
  std::vector<Told> stops;             // in the order of the run
  std::vector<vm::GuestPhys> written;  // bytes of RAM that it changed

  /// Has a session stop where these are.
  Status arm(vm::Session& session, const replay::Replayer& replayer) const {
    TRY(session.set_breakpoints({handler, often}));
    session.set_breakpoint_test(
        [this, &replayer](vm::GuestVirt at) { return at == handler || replayer.total_steps() % kPassesApart == 0; });
    session.breaks().clear();
    session.breaks().add(accesses, 0);
    return {};
  }
};

Result<vm::GuestVirt> rip_at(const trace::Reader& reader, const Position& position) {
  TRY_ASSIGN(auto straight, SoftReplay::create(reader));
  straight->replayer->set_until(position);
  TRY(straight->replayer->resume(vm::ResumeFor::go));
  TRY_ASSIGN(vm::CpuState cpu, straight->vcpu->state());
  return vm::GuestVirt{cpu.linear_rip()};
}

Result<int64_t> first_interrupt(const trace::Reader& reader) {
  trace::EventCursor cursor(reader);
  for (;;) {
    uint64_t number = cursor.next_number();
    TRY_ASSIGN(const trace::Event* event, cursor.next());
    if (event == nullptr) return fail("the trace has no interrupt");
    if (std::holds_alternative<trace::InterruptEvent>(event->body)) return static_cast<int64_t>(number);
  }
}

/// Some bytes of RAM that differ from the initial ones, far apart.
Result<std::vector<vm::GuestPhys>> written_bytes(const trace::Reader& reader, const vm::GuestMemory& now) {
  TRY_ASSIGN(vm::GuestMemory before, replay::load_memory(reader));
  std::vector<vm::GuestPhys> all;
  for (uint64_t page = 0; page < now.ram_size() / vm::kPageSize; ++page) {
    ByteSpan old = before.page(page), fresh = now.page(page);
    for (uint64_t at = 0; at < vm::kPageSize; at += 8) {
      if (std::memcmp(&old[at], &fresh[at], 8) != 0) all.push_back({page * vm::kPageSize + at});
    }
  }
  std::vector<vm::GuestPhys> some;
  for (size_t i = 0; i < std::min(all.size(), kMostAddresses); ++i)
    some.push_back(all[i * all.size() / std::min(all.size(), kMostAddresses)]);
  return some;
}

Result<Plan> plan_of(const trace::Reader& reader, uint64_t port) {
  Plan plan;
  plan.accesses.places = {{.space = vm::Space::pio, .first = port, .last = port}};
  plan.accesses.direction = vm::Direction::write;
  TRY_ASSIGN(int64_t interrupt, first_interrupt(reader));
  TRY_ASSIGN(plan.handler, rip_at(reader, {interrupt, 0}));
  TRY_ASSIGN(auto straight, SoftReplay::create(reader));
  TRY(straight->replayer->resume(vm::ResumeFor::go));
  plan.total_steps = straight->replayer->total_steps();
  TRY_ASSIGN(plan.written, written_bytes(reader, straight->memory));
  TRY_ASSIGN(plan.often, rip_at(reader, Position::after_start(plan.total_steps / 2)));

  TRY_ASSIGN(straight, SoftReplay::create(reader));
  replay::Replayer& replayer = *straight->replayer;
  TRY(plan.arm(replayer, replayer));
  for (;;) {
    TRY_ASSIGN(vm::SessionStop stop, replayer.resume(vm::ResumeFor::go));
    if (stop.kind == Kind::ended) return plan;
    if (stop.kind == Kind::diverged) return fail("the replay diverged: " + stop.reason);
    bool device = stop.kind == Kind::device;
    plan.stops.push_back({stop.kind, replayer.total_steps() - (device ? 1 : 0),
                          device ? static_cast<int64_t>(stop.seen.event) : replayer.last_event()});
  }
}

/// A replay that was never anywhere but at its start.
struct Fresh {
  static Result<Fresh> create(const trace::Reader& reader, bool use_keyframes) {
    Fresh fresh;
    TRY_ASSIGN(fresh.replay, SoftReplay::create(reader));
    replay::CheckpointLimits limits{.spacing = kSpacing, .keyframe_gain = use_keyframes ? kSpacing : UINT64_MAX / 2};
    TRY_ASSIGN(fresh.timeline, replay::Timeline::create(*fresh.replay->replayer, reader, limits));
    TRY(fresh.timeline->seek(std::nullopt));
    return fresh;
  }
  std::unique_ptr<SoftReplay> replay;
  std::unique_ptr<replay::Timeline> timeline;
};

/// How many stops are not what the plan has, from the end to the beginning.
Result<uint64_t> differing_stops(const Plan& plan, Fresh& fresh) {
  TRY(plan.arm(*fresh.timeline, *fresh.replay->replayer));
  uint64_t different = 0;
  for (auto wanted = plan.stops.rbegin(); wanted != plan.stops.rend(); ++wanted) {
    TRY_ASSIGN(vm::SessionStop stop, fresh.timeline->reverse(vm::ReverseFor::go));
    bool device = stop.kind == Kind::device;
    Told told{stop.kind, fresh.replay->replayer->total_steps(),
              device ? static_cast<int64_t>(stop.seen.event) : fresh.timeline->last_event()};
    if (told == *wanted) continue;
    ++different;
    fmt::print(stderr, "stop {}: kind {} @{} event {}, forward: kind {} @{} event {}\n", plan.stops.rend() - wanted - 1,
               static_cast<int>(told.kind), told.total_steps, told.event, static_cast<int>(wanted->kind),
               wanted->total_steps, wanted->event);
  }
  TRY_ASSIGN(vm::SessionStop stop, fresh.timeline->reverse(vm::ReverseFor::go));
  return different + (stop.kind == Kind::began ? 0 : 1);
}

/// Who wrote each of these last, as text, seen from the end and from the middle.
Result<std::vector<std::string>> writers(const Plan& plan, Fresh& fresh) {
  std::vector<std::string> texts;
  for (std::optional<Position> from :
       {std::optional<Position>(), std::optional(Position::after_start(plan.total_steps / 2))}) {
    TRY(fresh.timeline->seek(from));
    for (vm::GuestPhys at : plan.written) {
      TRY_ASSIGN(auto write, fresh.timeline->last_write(at, 8));
      texts.push_back(!write ? fmt::format("{:#x}: nobody", at.value)
                             : fmt::format("{:#x}: {:#x} by {:#x} at {}+{} (@{})", at.value, write->address,
                                           write->instruction ? write->instruction->value : 0, write->before.event,
                                           write->before.steps, write->before_steps));
    }
  }
  return texts;
}

Result<int> run(const char* file, uint64_t port) {
  TRY_ASSIGN(auto reader, trace::Reader::open(file));
  TRY_ASSIGN(Plan plan, plan_of(*reader, port));
  uint64_t different = 0, used = 0;
  std::vector<std::string> told[2];
  for (bool use_keyframes : {false, true}) {
    TRY_ASSIGN(Fresh running, Fresh::create(*reader, use_keyframes));
    TRY_ASSIGN(uint64_t stops, differing_stops(plan, running));
    TRY_ASSIGN(Fresh asking, Fresh::create(*reader, use_keyframes));
    TRY_ASSIGN(told[use_keyframes], writers(plan, asking));
    different += stops;
    used = running.timeline->keyframe_starts() + asking.timeline->keyframe_starts();
    if (!use_keyframes && used != 0) return fail("a timeline that may not use keyframes did");
  }
  for (size_t i = 0; i < told[0].size(); ++i) {
    if (told[0][i] == told[1][i]) continue;
    ++different;
    fmt::print(stderr, "{}, with keyframes {}\n", told[0][i], told[1][i]);
  }
  auto count = [&](Kind kind) {
    return std::ranges::count_if(plan.stops, [kind](const Told& one) { return one.kind == kind; });
  };
  fmt::print("steps {} accesses {} breakpoints {} writers {} different {} keyframes {} of {}\n", plan.total_steps,
             count(Kind::device), count(Kind::breakpoint), told[0].size(), different, used, reader->keyframe_count());
  return different == 0 ? 0 : 3;
}

}  // namespace
}  // namespace dejavm::integration

int main(int argc, char** argv) {
  auto port = argc == 3 ? dejavm::parse_u64(argv[2]) : std::nullopt;
  if (!port) {
    fmt::print(stderr, "usage: travel_back TRACE PORT\n");
    return 2;
  }
  auto status = dejavm::integration::run(argv[1], *port);
  if (status) return *status;
  fmt::print(stderr, "travel_back: {}\n", status.error().what);
  return 1;
}
