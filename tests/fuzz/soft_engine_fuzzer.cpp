// A random guest (soft_sketch.h) on two soft vCPUs, one of which translates. Whoever runs them does to both what a recorder,
// a replayer and a debugger may do between runs: answers accesses, injects interrupts, writes memory, sets breakpoints,
// stops at any step. After each run both must be in the same state; what is against the rules of vm/vcpu.h, too, ends the
// process.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "base/check.h"
#include "engine/soft/soft_vcpu.h"
#include "soft_sketch.h"
#include "vm/ram_digest.h"

namespace dejavm::fuzz {
namespace {

constexpr uint64_t kMaxSteps = 4000;
constexpr unsigned kMaxRuns = 150;

[[noreturn]] void found(const std::string& what) {
  fmt::print(stderr, "soft_engine_fuzzer: {}\n", what);
  std::abort();
}

/// SplitMix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  bool one_in(unsigned n) { return next() % n == 0; }

 private:
  uint64_t state_;
};

std::string describe(const Result<vm::Exit>& exit) {
  if (!exit) return "fails: " + exit.error().what;
  if (const auto* access = std::get_if<vm::DeviceAccess>(&*exit)) {
    return fmt::format("{} at {:#x}, joined {}", vm::describe(access->access),
                       access->instruction ? access->instruction->value : 0, access->joins_previous.value_or(false));
  }
  if (const auto* msr = std::get_if<vm::MsrAccess>(&*exit)) {
    return fmt::format("MSR {:#x}, write {}, value {:#x}", msr->index, msr->write, msr->value);
  }
  if (const auto* hit = std::get_if<vm::BreakpointHit>(&*exit)) return fmt::format("breakpoint {:#x}", hit->at.value);
  if (const auto* hit = std::get_if<vm::WatchHit>(&*exit)) {
    return fmt::format("watchpoint {} at {:#x}, write {}, by {:#x}", hit->watchpoint, hit->address,
                       hit->direction == vm::Direction::write, hit->instruction.value_or(vm::GuestVirt{}).value);
  }
  return fmt::format("exit {}", exit->index());
}

/// One of the two.
struct Guest {
  explicit Guest(const Sketch& sketch, soft::Execution execution) : memory(sketch.make_memory()), digest(memory) {
    auto made = soft::create_vcpu(memory, sketch.model(), execution);
    CHECK(made.has_value());
    vcpu = std::move(*made);
  }

  vm::CpuState state() {
    auto now = vcpu->state();
    CHECK(now.has_value());
    return *now;
  }
  /// What changed is in the dirty set.
  uint64_t ram() {
    CHECK(vcpu->collect_dirty().has_value());
    digest.update(memory, memory.take_dirty());
    return digest.value();
  }

  vm::GuestMemory memory;
  vm::RamDigest digest;
  std::unique_ptr<vm::Vcpu> vcpu;
};

class Twins {
 public:
  explicit Twins(const Sketch& sketch)
      : random_(sketch.seed()),
        longest_run_(sketch.longest_run()),
        interpreted_(sketch, soft::Execution::interpret),
        translated_(sketch, soft::Execution::translate_at_once) {
    bool possible = interpreted_.vcpu->set_state(sketch.state()).has_value();
    if (translated_.vcpu->set_state(sketch.state()).has_value() != possible) found("a state is possible for one of the two");
    done_ = !possible;
  }

  bool done() const { return done_ || interpreted_.vcpu->steps() >= kMaxSteps; }

  void run() {
    prepare();
    vm::RunMode mode = random_.one_in(5) ? vm::RunMode::step : vm::RunMode::free;
    if (!consistent_ && random_.one_in(4)) mode = vm::RunMode::complete;
    uint64_t before = interpreted_.vcpu->steps(), limit = before + 1 + random_.next() % longest_run_;
    auto expected = run_one(interpreted_, mode, limit), actual = run_one(translated_, mode, limit);
    if (describe(expected) != describe(actual)) {
      found(fmt::format("{}, but translated {}\n{}", describe(expected), describe(actual),
                        vm::describe(interpreted_.state())));
    }
    if (!expected) {
      done_ = true;
      return;
    }
    compare();
    check_limits(*expected, mode, before, limit);
    answer(*expected);
  }

  void compare_memory() {
    uint64_t expected = interpreted_.ram(), actual = translated_.ram();
    if (std::memcmp(interpreted_.memory.host(0), translated_.memory.host(0), kRamSize + vm::kPageSize) != 0) {
      found("the memories differ");
    }
    if (expected != actual || expected != vm::RamDigest(interpreted_.memory).value()) {
      found("a page that changed is not in the dirty set");
    }
  }

 private:
  template <typename Do>
  void both(Do what) {
    what(interpreted_);
    what(translated_);
  }

  Result<vm::Exit> run_one(Guest& guest, vm::RunMode mode, uint64_t limit) {
    guest.vcpu->set_step_limit(limit);
    return guest.vcpu->run(mode);
  }

  /// What others do between two runs.
  void prepare() {
    uint64_t value = random_.next();
    if (consistent_ && random_.one_in(6)) inject(value);
    if (random_.one_in(8)) both([&](Guest& guest) { guest.vcpu->request_window(value % 2 == 0); });
    if (random_.one_in(12)) set_breakpoints();
    if (random_.one_in(16)) set_watchpoints();
    if (consistent_ && random_.one_in(16)) write_memory(value);
    if (random_.one_in(20)) both([](Guest& guest) { guest.vcpu->kick(); });
    if (random_.one_in(24)) compare_memory();
    // No run may depend on what an engine has cached.
    if (consistent_ && random_.one_in(10)) {
      Guest& guest = random_.one_in(2) ? interpreted_ : translated_;
      if (auto set = guest.vcpu->set_state(guest.state()); !set) found("its own state is impossible: " + set.error().what);
    }
  }

  void inject(uint64_t value) {
    auto can = interpreted_.vcpu->can_interrupt(), can_too = translated_.vcpu->can_interrupt();
    CHECK(can.has_value() && can_too.has_value());
    if (*can != *can_too) found("an interrupt may enter one of the two");
    if (*can) {
      both([&](Guest& guest) { CHECK(guest.vcpu->interrupt(static_cast<uint8_t>(32 + value % 32)).has_value()); });
    } else if (value % 4 == 0 && interpreted_.state().nmi_masked == 0) {
      both([](Guest& guest) { CHECK(guest.vcpu->nmi().has_value()); });
    } else {
      return;
    }
    consistent_ = false;
  }

  void set_breakpoints() {
    std::vector<vm::GuestVirt> breakpoints;
    for (uint64_t i = random_.next() % 4; i > 0; --i) breakpoints.push_back({kCode + random_.next() % 0x100});
    if (random_.one_in(2)) breakpoints.push_back({interpreted_.state().linear_rip()});
    both([&](Guest& guest) { CHECK(guest.vcpu->set_breakpoints(breakpoints).has_value()); });
  }

  /// Near what the registers point to, mostly: there programs access.
  void set_watchpoints() {
    std::vector<vm::Watchpoint> watchpoints;
    vm::CpuState now = interpreted_.state();
    for (uint64_t i = random_.next() % 4; i > 0; --i) {
      uint64_t value = random_.next();
      bool physical = value % 2 == 0;
      uint64_t near = value % 8 == 1 ? value >> 8 : now.gpr[value / 8 % 16] + value / 256 % 64 - 32;
      uint64_t first = physical ? near % kRamSize : near;
      uint64_t length = random_.one_in(4) ? 1 + random_.next() % 0x3000 : 1 + random_.next() % 8;
      watchpoints.push_back({.by = physical ? vm::Watchpoint::By::physical : vm::Watchpoint::By::linear,
                             .first = first,
                             .length = std::min(length, UINT64_MAX - first),
                             .on_read = random_.one_in(2),
                             .on_write = random_.one_in(2)});
      watchpoints.back().length = std::max<uint64_t>(watchpoints.back().length, 1);
    }
    watchpoints_ = watchpoints.size();
    both([&](Guest& guest) { CHECK(guest.vcpu->set_watchpoints(watchpoints).has_value()); });
  }

  void check_hit(const vm::WatchHit& hit) {
    if (hit.watchpoint >= watchpoints_) found("a watchpoint is hit that is not set");
    auto pending = interpreted_.vcpu->injection_pending();
    CHECK(pending.has_value());
    if (*pending) found("a watchpoint stops where something is pending");
  }

  void write_memory(uint64_t value) {
    uint64_t at = random_.one_in(2) ? kCode + value % 0x400 : value % (kRamSize - 8);
    uint8_t bytes[8];
    std::memcpy(bytes, &value, sizeof bytes);
    both([&](Guest& guest) { CHECK(guest.memory.write({at}, {bytes, 1 + value % 8}, vm::Writer::device).has_value()); });
  }

  void compare() {
    if (interpreted_.vcpu->steps() != translated_.vcpu->steps()) {
      found(fmt::format("{} steps, but translated {}", interpreted_.vcpu->steps(), translated_.vcpu->steps()));
    }
    vm::CpuState expected = interpreted_.state(), actual = translated_.state();
    if (expected == actual) return;
    found(fmt::format("after {} steps {}", interpreted_.vcpu->steps(), vm::difference(expected, actual)));
  }

  void check_limits(const vm::Exit& exit, vm::RunMode mode, uint64_t before, uint64_t limit) {
    constexpr uint64_t kStepsOfOneRun = 2;  // an instruction that exited, and the one that steps
    uint64_t most = mode == vm::RunMode::free ? std::max(limit, before + 1) : before + kStepsOfOneRun;
    if (interpreted_.vcpu->steps() > most) found("more steps than allowed");
    bool at_limit = std::holds_alternative<vm::StepLimit>(exit);
    if (at_limit && interpreted_.vcpu->steps() != limit) found("a limit that is not exact");
  }

  void answer(const vm::Exit& exit) {
    consistent_ = true;
    uint64_t value = random_.next();
    if (const auto* access = std::get_if<vm::DeviceAccess>(&exit)) {
      consistent_ = false;
      const vm::Access& what = access->access;
      if (what.size == 0 || what.size > 8) found("an access of no size: " + vm::describe(what));
      if (!what.is_write()) both([&](Guest& guest) { guest.vcpu->reply(value); });
    } else if (std::holds_alternative<vm::MsrAccess>(exit)) {
      consistent_ = false;
      both([&](Guest& guest) { value % 4 == 0 ? guest.vcpu->reply(value >> 2) : guest.vcpu->reply_fault(); });
    } else if (const auto* hit = std::get_if<vm::WatchHit>(&exit)) {
      check_hit(*hit);
    } else if (std::holds_alternative<vm::Shutdown>(exit)) {
      done_ = true;
    }
  }

  Random random_;
  uint64_t longest_run_;
  size_t watchpoints_ = 0;
  Guest interpreted_, translated_;
  bool consistent_ = true;  // nothing is pending
  bool done_ = false;
};

}  // namespace
}  // namespace dejavm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dejavm::fuzz;
  Twins twins(Sketch({data, size}));
  for (unsigned run = 0; run < kMaxRuns && !twins.done(); ++run) twins.run();
  twins.compare_memory();
  return 0;
}
