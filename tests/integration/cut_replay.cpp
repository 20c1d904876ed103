// Replays a trace on soft, and again while it is cut at random steps: at each cut the vCPU's state is taken and set again,
// which drops all translations, and at every fiftieth it goes on in a new vCPU, which knows nothing but that state and the
// count. Besides, the replayer itself is stopped at random positions, and there is a replay from each keyframe. Exit status:
// 0 when all replays end in the same RAM, CPU and count of steps without a divergence, 3 when not, 1 for a failure. Prints
// the cuts, the stops, the keyframes and the RAM digest.
#include <algorithm>
#include <cstdio>
#include <mutex>
#include <random>

#include "base/check.h"
#include "base/clock.h"
#include "base/parse.h"
#include "engine/soft/executable_pool.h"
#include "engine/soft/soft_vcpu.h"
#include "forwarding_vcpu.h"
#include "replay/replayer.h"

namespace dejavm {
namespace {

constexpr uint64_t kCutsOfOneVcpu = 50;
constexpr uint64_t kStops = 200;

/// A soft vCPU that is cut at counts of steps while it runs freely; whoever runs it sees nothing of that.
class CutVcpu final : public vm::ForwardingVcpu {
 public:
  /// `at`: counts of steps, ascending.
  CutVcpu(vm::GuestMemory& memory, const vm::CpuModel& model, std::vector<uint64_t> at)
      : memory_(memory), model_(model), cuts_(std::move(at)) {}
  Status create(uint64_t steps) {
    TRY_ASSIGN(inner_, soft::create_vcpu(memory_, model_, soft::Execution::translate, &pool_, steps));
    return {};
  }

  Result<vm::Exit> run(vm::RunMode mode) override {
    for (;;) {
      while (done_ < cuts_.size() && cuts_[done_] <= steps()) ++done_;
      uint64_t cut = done_ < cuts_.size() ? cuts_[done_] : UINT64_MAX;
      uint64_t stop = std::min(limit_, cut);
      inner_->set_step_limit(stop);
      auto exit = inner_->run(mode);
      bool at_cut = exit && std::holds_alternative<vm::StepLimit>(*exit) && steps() >= cut && steps() < limit_;
      if (!at_cut) return exit;
      TRY(continue_from_state());
    }
  }
  void kick() override {
    std::lock_guard lock(mutex_);
    inner_->kick();
  }
  void request_window(bool wanted) override {
    window_wanted_ = wanted;
    inner_->request_window(wanted);
  }
  Status set_breakpoints(std::span<const vm::GuestVirt> addresses) override {
    CHECK(addresses.empty());  // a recording on soft needs none
    return {};
  }
  uint64_t steps() const override { return inner_->steps(); }
  void set_step_limit(uint64_t limit) override { limit_ = limit; }

  /// At a consistent point: goes on from nothing but the state.
  Status continue_from_state() {
    TRY_ASSIGN(vm::CpuState state, inner_->state());
    ++cuts;
    if (cuts % kCutsOfOneVcpu == 0) {
      TRY_ASSIGN(auto fresh, soft::create_vcpu(memory_, model_, soft::Execution::translate, &pool_, steps()));
      std::lock_guard lock(mutex_);
      inner_ = std::move(fresh);
      inner_->request_window(window_wanted_);
      ++vcpus;
    }
    return inner_->set_state(state);
  }

  uint64_t cuts = 0, vcpus = 1;

 private:
  vm::Vcpu& inner() const override { return *inner_; }

  vm::GuestMemory& memory_;
  const vm::CpuModel& model_;
  const std::vector<uint64_t> cuts_;
  size_t done_ = 0;
  soft::ExecutablePool pool_;
  std::mutex mutex_;  // kick() comes from another thread
  std::unique_ptr<vm::Vcpu> inner_;
  uint64_t limit_ = UINT64_MAX;
  bool window_wanted_ = false;
};

struct End {
  uint64_t ram = 0, cpu = 0, steps = 0, cuts = 0, vcpus = 0, stops = 0;
  bool faithful = false;
  std::string divergences;
};

/// One replay, from a keyframe or the start; `stops`: positions, ascending.
Result<End> replay(const trace::Reader& reader, std::optional<size_t> keyframe, std::vector<uint64_t> cuts,
                   const std::vector<replay::Position>& stops) {
  TRY_ASSIGN(vm::GuestMemory memory, replay::load_memory(reader, keyframe));
  CutVcpu vcpu(memory, reader.description().cpu_model, std::move(cuts));
  TRY_ASSIGN(std::optional<uint64_t> steps, replay::steps_at_start(reader, keyframe));
  TRY(vcpu.create(steps.value_or(0)));
  MonotonicClock clock;
  TRY_ASSIGN(auto replayer, replay::Replayer::create(reader, vcpu, memory, clock, {.from_keyframe = keyframe}));
  End end;
  for (const replay::Position& stop : stops) {
    replayer->set_until(stop);
    TRY_ASSIGN(vm::SessionStop reached, replayer->resume(vm::ResumeFor::go));
    if (reached.kind != vm::SessionStop::Kind::position) break;
    TRY_ASSIGN(bool undelivered, vcpu.injection_pending());
    if (!undelivered) TRY(vcpu.continue_from_state());
    end.stops += !undelivered;
  }
  replayer->set_until(std::nullopt);
  TRY(replayer->resume(vm::ResumeFor::go));
  TRY_ASSIGN(end.ram, replayer->ram_digest());
  TRY_ASSIGN(vm::CpuState cpu, vcpu.state());
  end.cpu = vm::hash(cpu);
  end.steps = vcpu.steps();
  end.cuts = vcpu.cuts;
  end.vcpus = vcpu.vcpus;
  end.faithful = replayer->finished() && replayer->divergence_count() == 0;
  for (const auto& divergence : replayer->divergences()) end.divergences += describe(divergence);
  return end;
}

bool same(const End& one, const End& other) {
  return one.ram == other.ram && one.cpu == other.cpu && one.steps == other.steps && one.faithful == other.faithful;
}

Result<int> cut_replay(const char* file, uint64_t count, uint64_t seed) {
  TRY_ASSIGN(auto reader, trace::Reader::open(file));
  TRY_ASSIGN(End whole, replay(*reader, std::nullopt, {}, {}));
  std::mt19937_64 random(seed);
  std::vector<uint64_t> cuts(count);
  for (uint64_t& cut : cuts) cut = random() % (whole.steps + 1);
  std::ranges::sort(cuts);
  std::vector<replay::Position> stops(kStops);
  for (auto& stop : stops) stop = {static_cast<int64_t>(random() % (reader->event_count() + 1)) - 1, random() % 1000};
  std::ranges::sort(stops, {}, &replay::Position::event);
  TRY_ASSIGN(End parts, replay(*reader, std::nullopt, std::move(cuts), stops));
  fmt::print(stderr, "{}{}", whole.divergences, parts.divergences);
  bool good = whole.faithful && same(whole, parts);
  if (!good) fmt::print(stderr, "uncut: steps {} ram {:016x}\n", whole.steps, whole.ram);
  for (size_t i = 0; i < reader->keyframe_count(); ++i) {
    TRY_ASSIGN(End rest, replay(*reader, i, {}, {}));
    fmt::print(stderr, "{}", rest.divergences);
    if (same(whole, rest)) continue;
    fmt::print(stderr, "from keyframe {}: steps {} ram {:016x}\n", i, rest.steps, rest.ram);
    good = false;
  }
  fmt::print("steps {} cuts {} vcpus {} stops {} keyframes {} ram {:016x}\n", parts.steps, parts.cuts, parts.vcpus,
             parts.stops, reader->keyframe_count(), parts.ram);
  return good ? 0 : 3;
}

}  // namespace
}  // namespace dejavm

int main(int argc, char** argv) {
  auto count = argc == 4 ? dejavm::parse_u64(argv[2]) : std::nullopt;
  auto seed = argc == 4 ? dejavm::parse_u64(argv[3]) : std::nullopt;
  if (!count || !seed) {
    fmt::print(stderr, "usage: cut_replay TRACE CUTS SEED\n");
    return 2;
  }
  auto status = dejavm::cut_replay(argv[1], *count, *seed);
  if (status) return *status;
  fmt::print(stderr, "cut_replay: {}\n", status.error().what);
  return 1;
}
