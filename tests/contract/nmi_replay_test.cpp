// NMIs at every placement: recorded from an engine, replayed on it. The frame that an NMI pushes stays in RAM, so that the
// RAM digest at the end tells whether it entered at the very instruction.
#include <atomic>
#include <chrono>
#include <thread>

#include "base/temporary.h"
#include "contract_fixture.h"
#include "replay/replayer.h"
#include "trace/writer.h"

namespace dejavm::contract {
namespace {

GUEST(
    nmi_loop, 64,
    "1: mov eax, [rbx]; mov edx, 2000; 2: inc qword ptr [0x20000]; dec edx; jnz 2b; sti; nop; nop; cli; inc esi; cmp esi, 6;"
    "jne 1b; hlt")
GUEST(nmi_handler, 64, "inc qword ptr [0x20008]; iretq")

using trace::Placement;

/// A guest that is recorded by hand: the session of the recorder has no board with an NMI.
class NmiReplay : public Contract {
 protected:
  void start() {
    machine().start(nmi_loop(), long_mode());
    machine().handler(nmi_handler());
    trace::Description description;
    description.engine = "contract test";
    description.machine = "none";
    description.cpu_model = engine().model;
    description.ram_size = kRamSize;
    description.memory = machine().memory.map();
    description.cpu = machine().state();
    auto writer = trace::Writer::create(file(), description, machine().memory);
    ASSERT_TRUE(writer) << writer.error().what;
    writer_ = std::move(*writer);
  }
  std::string file() const { return folder_.file("t.dvt"); }
  void append(trace::EventBody body) { ASSERT_TRUE(writer_->append({std::move(body)})); }

  /// Runs to the n-th access from here and completes its instruction. Returns false at HLT.
  bool run_to_access(unsigned n = 1) {
    for (unsigned i = 0; i < n; ++i) {
      vm::Exit exit = machine().run();
      while (is<vm::Interrupted>(exit)) exit = machine().run();
      if (!is<vm::DeviceAccess>(exit)) return false;
      vm::Access access = std::get<vm::DeviceAccess>(exit).access;
      access.value = i;
      vcpu().reply(i);
      append(trace::AccessEvent{access, false, std::nullopt});
      EXPECT_TRUE(is<vm::Completed>(machine().run(vm::RunMode::complete)));
    }
    return true;
  }
  trace::Where here() {
    trace::MatchedState state{machine().state(), machine().ram_digest()};
    return {Placement::state, 0, std::make_shared<const trace::MatchedState>(state)};
  }
  void nmi(trace::Where where) {
    append(trace::NmiEvent{std::move(where)});
    ASSERT_TRUE(vcpu().nmi());
  }

  /// Lets the guest run to its HLT, seals, replays and compares.
  void expect_faithful_replay(uint64_t nmis) {
    while (run_to_access()) {
    }
    EXPECT_EQ(machine().u64(kData + 8), nmis);
    append(trace::HaltEvent{});
    uint64_t ram = machine().ram_digest();
    ASSERT_TRUE(writer_->finish({.events = writer_->events(),
                                 .ram_digest = ram,
                                 .cpu_hash = vm::hash(machine().state()),
                                 .reason = "the guest halted"}));
    auto reader = trace::Reader::open(file()).value();
    vm::GuestMemory memory = replay::load_memory(*reader).value();
    auto vcpu = engine().create(memory, vm::dejavm64_v1()).value();
    MonotonicClock clock;
    auto replayer = replay::Replayer::create(*reader, *vcpu, memory, clock, {}).value();

    auto stop = replayer->resume(vm::ResumeFor::go);

    ASSERT_TRUE(stop) << stop.error().what;
    EXPECT_EQ(stop->kind, vm::SessionStop::Kind::ended) << stop->reason;
    EXPECT_EQ(replayer->divergence_count(), 0u);
    EXPECT_EQ(replayer->ram_digest().value(), ram);
  }

 private:
  TemporaryDirectory folder_ = TemporaryDirectory::create("dejavm-nmi").value();
  std::unique_ptr<trace::Writer> writer_;
};

INSTANTIATE_TEST_SUITE_P(Engines, NmiReplay, testing::Values("kvm", "soft"),
                         [](const auto& engine) { return engine.param; });

TEST_P(NmiReplay, AtABoundary) {
  start();
  run_to_access(2);
  nmi({});

  expect_faithful_replay(1);
}

TEST_P(NmiReplay, AtAStateAfterAKick) {
  std::atomic<bool> stop = false;
  std::thread kicker([&] {
    while (!stop) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      vcpu().kick();
    }
  });
  vm::Exit exit = vm::Halted{};
  for (int attempt = 0; attempt < 1000 && is<vm::Halted>(exit); ++attempt) {  // a fast guest may halt before it is kicked
    start();
    for (exit = machine().run(); is<vm::DeviceAccess>(exit); exit = machine().run()) {
      append(trace::AccessEvent{std::get<vm::DeviceAccess>(exit).access, false, std::nullopt});
    }
  }
  stop = true;
  kicker.join();
  ASSERT_TRUE(is<vm::Interrupted>(exit)) << "the guest was never kicked before it halted";
  nmi(here());

  expect_faithful_replay(1);
}

TEST_P(NmiReplay, AtAStateInTheMiddleOfALoop) {
  start();
  run_to_access();
  for (int step = 0; step < 400; ++step) ASSERT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  nmi(here());

  expect_faithful_replay(1);
}

TEST_P(NmiReplay, AtAStepCount) {
  start();
  run_to_access();
  for (int step = 0; step < 123; ++step) ASSERT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  nmi({Placement::steps, 123, nullptr});

  expect_faithful_replay(1);
}

TEST_P(NmiReplay, AtTheWindow) {
  start();
  run_to_access();
  while (!vcpu().can_interrupt().value()) ASSERT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  nmi({Placement::window, 0, nullptr});

  expect_faithful_replay(1);
}

TEST_P(NmiReplay, OneAfterAnother) {
  start();
  run_to_access();
  nmi({});
  run_to_access(2);
  nmi(here());

  expect_faithful_replay(2);
}

}  // namespace
}  // namespace dejavm::contract
