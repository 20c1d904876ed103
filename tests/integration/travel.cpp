// Replays a trace straight forward and writes down the state at random positions; then travels through a timeline at random
// (seeks by count of steps and by event, steps, steps back) and compares the state at each stop: all of the CPU, the digest
// of RAM, the position. Exit status: 0 when all are equal, 3 when not, 1 for a failure. Prints what it did and how long
// seeks and steps back took.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <random>

#include "base/clock.h"
#include "base/parse.h"
#include "engine/soft/soft_vcpu.h"
#include "replay/timeline.h"

namespace dejavm {
namespace {

using replay::Position;
using Kind = vm::SessionStop::Kind;

/// A state that the guest has on its way.
struct Mark {
  Position target, position;
  uint64_t total_steps = 0;
  vm::CpuState cpu;
  uint64_t ram = 0;
};

/// A replay with what it borrows.
struct Replaying {
  Replaying(const trace::Reader& from, vm::GuestMemory ram) : reader(from), memory(std::move(ram)) {}
  static Result<std::unique_ptr<Replaying>> create(const trace::Reader& reader) {
    TRY_ASSIGN(vm::GuestMemory memory, replay::load_memory(reader));
    auto r = std::make_unique<Replaying>(reader, std::move(memory));
    TRY_ASSIGN(r->vcpu, soft::create_vcpu(r->memory, reader.description().cpu_model));
    TRY_ASSIGN(r->replayer, replay::Replayer::create(reader, *r->vcpu, r->memory, r->clock, {}));
    return r;
  }
  Result<Mark> mark(const Position& target) {
    TRY_ASSIGN(vm::CpuState cpu, vcpu->state());
    TRY_ASSIGN(uint64_t ram, replayer->ram_digest());
    return Mark{target, replayer->position(), replayer->total_steps(), cpu, ram};
  }

  const trace::Reader& reader;
  vm::GuestMemory memory;
  MonotonicClock clock;
  std::unique_ptr<vm::Vcpu> vcpu;
  std::unique_ptr<replay::Replayer> replayer;
};

/// The states at these positions, ascending; those behind the end are left out.
Result<std::vector<Mark>> marks_of(const trace::Reader& reader, const std::vector<Position>& targets) {
  TRY_ASSIGN(auto straight, Replaying::create(reader));
  std::vector<Mark> marks;
  for (const Position& target : targets) {
    straight->replayer->set_until(target);
    TRY_ASSIGN(vm::SessionStop stop, straight->replayer->resume(vm::ResumeFor::go));
    if (stop.kind != Kind::position) break;
    TRY_ASSIGN(Mark mark, straight->mark(target));
    marks.push_back(std::move(mark));
  }
  return marks;
}

Result<uint64_t> steps_of(const trace::Reader& reader) {
  TRY_ASSIGN(auto straight, Replaying::create(reader));
  TRY_ASSIGN(vm::SessionStop stop, straight->replayer->resume(vm::ResumeFor::go));
  if (stop.kind != Kind::ended) return fail("the replay does not end: " + stop.reason);
  return straight->replayer->total_steps();
}

class Travel {
 public:
  Travel(Replaying& replaying, replay::Timeline& timeline) : replaying_(replaying), timeline_(timeline) {}

  /// Goes there and compares.
  Status visit(const Mark& mark) {
    uint64_t start = replaying_.clock.now_ns();
    TRY_ASSIGN(vm::SessionStop stop, timeline_.seek(mark.target));
    seek_us.push_back((replaying_.clock.now_ns() - start) / 1000);
    return compare(mark, stop, Kind::position, "seek");
  }
  Status step(const Mark& expected, bool forward) {
    uint64_t start = replaying_.clock.now_ns();
    auto stop = forward ? timeline_.resume(vm::ResumeFor::step) : timeline_.reverse(vm::ReverseFor::step);
    if (!forward) back_us.push_back((replaying_.clock.now_ns() - start) / 1000);
    TRY(stop);
    return compare(expected, *stop, Kind::step, forward ? "step" : "step back");
  }

  uint64_t compared = 0, different = 0;
  std::vector<uint64_t> seek_us, back_us;

 private:
  Status compare(const Mark& wanted, const vm::SessionStop& stop, Kind kind, const char* what) {
    TRY_ASSIGN(Mark now, replaying_.mark(wanted.target));
    ++compared;
    std::string cpu = vm::difference(wanted.cpu, now.cpu);
    if (stop.kind == kind && cpu.empty() && now.ram == wanted.ram && now.position == wanted.position &&
        now.total_steps == wanted.total_steps) {
      return {};
    }
    ++different;
    fmt::print(stderr, "{} to {}+{}{}: stop {} {}, at {}+{} (@{}), wanted {}+{} (@{}), ram {:016x} {:016x}, {}\n", what,
               wanted.target.event, wanted.target.steps, wanted.target.from_start ? " from the start" : "",
               static_cast<int>(stop.kind), stop.reason, now.position.event, now.position.steps, now.total_steps,
               wanted.position.event, wanted.position.steps, wanted.total_steps, now.ram, wanted.ram, cpu);
    return {};
  }

  Replaying& replaying_;
  replay::Timeline& timeline_;
};

std::string times(std::vector<uint64_t> us) {
  if (us.empty()) return "none";
  std::ranges::sort(us);
  return fmt::format("median {} us worst {} us", us[us.size() / 2], us.back());
}

Result<int> travel(const char* file, uint64_t visits, uint64_t seed, uint64_t spacing, uint64_t budget) {
  TRY_ASSIGN(auto reader, trace::Reader::open(file));
  TRY_ASSIGN(uint64_t steps, steps_of(*reader));
  std::mt19937_64 random(seed);
  // Neighbours in threes, so that a step and a step back from the middle one have their states here.
  std::vector<Position> by_steps, by_event;
  for (uint64_t i = 0; i < visits; ++i) {
    uint64_t middle = 1 + random() % (steps - 1);
    for (uint64_t at : {middle - 1, middle, middle + 1}) by_steps.push_back({-1, at, true});
    by_event.push_back({static_cast<int64_t>(random() % (reader->event_count() + 1)) - 1, random() % 300});
  }
  auto order = [](const Position& p) { return std::pair(p.event, p.steps); };
  std::ranges::sort(by_steps, {}, order);
  by_steps.erase(std::unique(by_steps.begin(), by_steps.end()), by_steps.end());
  std::ranges::sort(by_event, {}, order);
  TRY_ASSIGN(std::vector<Mark> at_steps, marks_of(*reader, by_steps));
  TRY_ASSIGN(std::vector<Mark> at_events, marks_of(*reader, by_event));

  TRY_ASSIGN(auto replaying, Replaying::create(*reader));
  TRY_ASSIGN(auto timeline, replay::Timeline::create(*replaying->replayer, *reader,
                                                     {.memory = budget, .spacing = spacing, .keyframe_gain = 4 * spacing}));
  Travel travel(*replaying, *timeline);
  auto follows = [&](size_t i) { return at_steps[i].total_steps + 1 == at_steps[i + 1].total_steps; };
  for (uint64_t i = 0; i < visits;) {
    size_t middle = 1 + random() % (at_steps.size() - 2);
    if (!follows(middle - 1) || !follows(middle)) continue;
    ++i;
    TRY(travel.visit(at_steps[middle]));
    TRY(travel.step(at_steps[middle - 1], false));
    TRY(travel.step(at_steps[middle], true));
    TRY(travel.step(at_steps[middle + 1], true));
    TRY(travel.visit(at_events[random() % at_events.size()]));
  }
  TRY_ASSIGN(vm::SessionStop end, timeline->seek(std::nullopt));
  bool good = travel.different == 0 && end.kind == Kind::ended && replaying->replayer->divergence_count() == 0;
  fmt::print("steps {} compared {} different {} checkpoints {} of {} KiB keyframes {}; seek {}; step back {}\n", steps,
             travel.compared, travel.different, timeline->checkpoints().count(), timeline->checkpoints().bytes() / 1024,
             timeline->keyframe_starts(), times(travel.seek_us), times(travel.back_us));
  return good ? 0 : 3;
}

/// Prints the registers that a run straight forward has at the positions on standard input ("EVENT STEPS", any order), as
/// gdb_reverse_test.cpp has GDB print them.
Result<int> print_states(const char* file) {
  TRY_ASSIGN(auto reader, trace::Reader::open(file));
  std::vector<Position> positions;
  Position one;
  while (std::scanf("%" SCNd64 " %" SCNu64, &one.event, &one.steps) == 2) positions.push_back(one);
  auto order = [](const Position& p) { return std::pair(p.event, p.steps); };
  std::ranges::sort(positions, {}, order);
  TRY_ASSIGN(std::vector<Mark> marks, marks_of(*reader, positions));
  for (const Mark& mark : marks) {
    fmt::print("{} {} {}: {:#x} STATE {:x}", mark.target.event, mark.target.steps, mark.total_steps, mark.cpu.rflags,
               mark.cpu.linear_rip());
    for (auto i : {vm::rax, vm::rbx, vm::rcx, vm::rdx, vm::rsi, vm::rdi, vm::rbp, vm::rsp, vm::r8, vm::r9, vm::r10, vm::r11,
                   vm::r12, vm::r13, vm::r14, vm::r15}) {
      fmt::print(" {:x}", mark.cpu.gpr[i]);
    }
    fmt::print("\n");
  }
  return 0;
}

}  // namespace
}  // namespace dejavm

int main(int argc, char** argv) {
  if (argc == 3 && std::string_view(argv[1]) == "states") {
    auto status = dejavm::print_states(argv[2]);
    if (status) return *status;
    fmt::print(stderr, "travel: {}\n", status.error().what);
    return 1;
  }
  std::vector<uint64_t> numbers;
  for (int i = 2; i < argc; ++i) numbers.push_back(dejavm::parse_u64(argv[i]).value_or(0));
  if (numbers.size() != 4 || numbers[0] == 0 || numbers[2] == 0) {
    fmt::print(stderr, "usage: travel TRACE VISITS SEED SPACING BUDGET | travel states TRACE\n");
    return 2;
  }
  auto status = dejavm::travel(argv[1], numbers[0], numbers[1], numbers[2], numbers[3]);
  if (status) return *status;
  fmt::print(stderr, "travel: {}\n", status.error().what);
  return 1;
}
