// How long it takes to go back in a replay on soft: from random places to the access before of a random device register, by
// the trace alone and with a breakpoint set besides, which has the replay searched; and one step back. The first time there
// are no checkpoints yet; then again from the keyframes, where the trace has some. Exit status: 0 within the targets, 1
// above them or a failure.
//
//   travel_bench TRACE [PLACES]
#include <algorithm>
#include <cstdio>
#include <random>
#include <set>

#include "base/clock.h"
#include "base/parse.h"
#include "engine/soft/soft_vcpu.h"
#include "replay/timeline.h"

namespace dejavm {
namespace {

using Kind = vm::SessionStop::Kind;

constexpr double kMedianMs = 50, kWorstMs = 500, kColdMs = 5000, kStepMedianMs = 20;

struct Times {
  std::vector<double> ms;
  double median() {
    std::ranges::sort(ms);
    return ms.empty() ? 0 : ms[ms.size() / 2];
  }
  double worst() const { return ms.empty() ? 0 : *std::ranges::max_element(ms); }
};

/// The registers that a trace has accesses to.
Result<std::vector<vm::Place>> registers_of(const trace::Reader& reader) {
  std::set<std::pair<vm::Space, uint64_t>> addresses;
  trace::EventCursor cursor(reader);
  for (;;) {
    TRY_ASSIGN(const trace::Event* event, cursor.next());
    if (event == nullptr) break;
    const auto* access = std::get_if<trace::AccessEvent>(&event->body);
    if (access != nullptr) addresses.insert({access->access.space, access->access.addr});
  }
  std::vector<vm::Place> places;
  for (auto [space, addr] : addresses) places.push_back({.space = space, .first = addr, .last = addr});
  return places;
}

class Bench {
 public:
  Bench(replay::Timeline& timeline, std::vector<vm::Place> registers, uint64_t steps)
      : timeline_(timeline), registers_(std::move(registers)), steps_(steps) {}

  Status go_somewhere() {
    TRY(timeline_.seek(replay::Position{-1, random_() % steps_, true}));
    return {};
  }
  Status back_to_access(Times& times, const std::vector<vm::GuestVirt>& breakpoints) {
    TRY(timeline_.set_breakpoints(breakpoints));
    timeline_.breaks().clear();
    vm::AccessFilter filter;
    filter.places = {registers_[random_() % registers_.size()]};
    timeline_.breaks().add(filter, 0);
    return time(times, vm::ReverseFor::go);
  }
  Status time(Times& times, vm::ReverseFor what) {
    uint64_t start = clock_.now_ns();
    TRY(timeline_.reverse(what));
    times.ms.push_back(static_cast<double>(clock_.now_ns() - start) / 1e6);
    return {};
  }

 private:
  replay::Timeline& timeline_;
  const std::vector<vm::Place> registers_;
  const uint64_t steps_;
  MonotonicClock clock_;
  std::mt19937_64 random_{1};
};

void print(const char* what, Times& times) {
  fmt::print("  {:<58} median {:>7.2f} ms   worst of {} {:>8.2f} ms\n", what, times.median(), times.ms.size(),
             times.worst());
}

/// A replay and its timeline, with nothing kept yet.
struct Fresh {
  Fresh(const trace::Reader& from, vm::GuestMemory ram) : reader(from), memory(std::move(ram)) {}
  static Result<std::unique_ptr<Fresh>> create(const trace::Reader& reader, const replay::CheckpointLimits& limits) {
    TRY_ASSIGN(vm::GuestMemory memory, replay::load_memory(reader));
    auto f = std::make_unique<Fresh>(reader, std::move(memory));
    TRY_ASSIGN(f->vcpu, soft::create_vcpu(f->memory, reader.description().cpu_model));
    TRY_ASSIGN(f->replayer, replay::Replayer::create(reader, *f->vcpu, f->memory, f->clock, {}));
    TRY_ASSIGN(f->timeline, replay::Timeline::create(*f->replayer, reader, limits));
    return f;
  }
  /// To the end and back to an access; how long that takes.
  Result<double> end_and_back(const std::vector<vm::Place>& registers) {
    uint64_t start = clock.now_ns();
    TRY(timeline->seek(std::nullopt));
    end_ms = static_cast<double>(clock.now_ns() - start) / 1e6;
    steps = replayer->total_steps();
    Bench bench(*timeline, registers, steps);
    Times back;
    TRY(bench.back_to_access(back, {}));
    return end_ms + back.worst();
  }

  const trace::Reader& reader;
  vm::GuestMemory memory;
  MonotonicClock clock;
  std::unique_ptr<vm::Vcpu> vcpu;
  std::unique_ptr<replay::Replayer> replayer;
  std::unique_ptr<replay::Timeline> timeline;
  double end_ms = 0;
  uint64_t steps = 0;  // at the end
};

Result<int> run(const char* file, uint64_t places) {
  TRY_ASSIGN(auto reader, trace::Reader::open(file));
  TRY_ASSIGN(auto registers, registers_of(*reader));
  TRY_ASSIGN(auto jumping, Fresh::create(*reader, {}));
  TRY_ASSIGN(double first, jumping->end_and_back(registers));
  uint64_t jumps = jumping->timeline->keyframe_starts();
  jumping.reset();
  TRY_ASSIGN(auto fresh, Fresh::create(*reader, {.keyframe_gain = UINT64_MAX / 2}));
  TRY_ASSIGN(double first_by_replay, fresh->end_and_back(registers));
  replay::Timeline* timeline = fresh->timeline.get();
  const uint64_t steps = fresh->steps;
  Bench bench(*timeline, registers, steps);
  Times access, searched, step, again;
  for (uint64_t i = 0; i < places; ++i) {
    TRY(bench.go_somewhere());
    TRY(bench.back_to_access(access, {}));
    TRY(bench.go_somewhere());
    TRY(bench.time(step, vm::ReverseFor::step));
    TRY(bench.time(again, vm::ReverseFor::step));
  }
  for (uint64_t i = 0; i < places / 10; ++i) {
    TRY(bench.go_somewhere());
    TRY(bench.back_to_access(searched, {{0x10}}));
  }
  fmt::print("  {} instructions, {} events, {} registers; the end first: {:.0f} ms; {} checkpoints in {} MiB\n", steps,
             reader->event_count(), registers.size(), fresh->end_ms, timeline->checkpoints().count(),
             timeline->checkpoints().bytes() >> 20);
  print("back to the access before, no other stops", access);
  print("the same, searched for besides a breakpoint", searched);
  print("a step back from anywhere", step);
  print("one more step back", again);
  fmt::print(
      "  the first access back, from the end, nothing kept: {:.0f} ms; with {} keyframes, {} of them used: {:.0f} ms\n",
      first_by_replay, reader->keyframe_count(), jumps, first);
  bool good =
      access.median() <= kMedianMs && access.worst() <= kWorstMs && first <= kColdMs && step.median() <= kStepMedianMs;
  fmt::print("  targets: median {} ms, worst {} ms, first {} ms, a step {} ms: {}\n", kMedianMs, kWorstMs, kColdMs,
             kStepMedianMs, good ? "met" : "MISSED");
  return good ? 0 : 1;
}

}  // namespace
}  // namespace dejavm

int main(int argc, char** argv) {
  auto places = argc == 3 ? dejavm::parse_u64(argv[2]) : 200;
  if (argc < 2 || argc > 3 || !places || *places < 10) {
    fmt::print(stderr, "usage: travel_bench TRACE [PLACES]\n");
    return 2;
  }
  auto status = dejavm::run(argv[1], *places);
  if (status) return *status;
  fmt::print(stderr, "travel_bench: {}\n", status.error().what);
  return 1;
}
