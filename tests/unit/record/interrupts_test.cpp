// What enters a guest from outside: where, when, and how the recording says so.
#include <gmock/gmock.h>
#include <unistd.h>

#include "recording.h"

namespace dejavm::record {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using vm::kDevice;
using Kind = vm::SessionStop::Kind;
using trace::Placement;

const vm::Op kPowerOff = vm::out(kPowerPort, 0);

/// Raises vector 0x21 when register 0 is written.
void interrupt_on_write(Recording& r) {
  r.on_write = [&r](uint64_t offset, uint64_t) {
    if (offset == 0) r.machine.vectors.push_back(0x21);
  };
}

vm::Program with_handler(std::initializer_list<vm::Op> code) {
  vm::Program program(code);
  program.handler(0x21, {vm::read(kDevice + 4), vm::iret()});
  program.handler(0x22, {vm::read(kDevice + 4), vm::iret()});
  return program;
}

TEST(Interrupts, EnterAtTheBoundaryOfTheInstructionThatRaisedThem) {
  Recording r(with_handler({vm::sti(), vm::nop(), vm::write(kDevice, 1), kPowerOff}));
  interrupt_on_write(r);

  r.go();

  EXPECT_THAT(r.events(), ElementsAre(HasSubstr("<- 0x1"), "irq 0x21 (boundary)", HasSubstr("0xf0000004 ->"), testing::_));
  EXPECT_THAT(r.vcpu.delivered, ElementsAre(0x21));
}

TEST(Interrupts, WaitForTheWindowWhileTheGuestHasThemOff) {
  Recording r(with_handler({vm::write(kDevice, 1), vm::nop(), vm::sti(), vm::nop(), vm::nop(), kPowerOff}));
  interrupt_on_write(r);

  r.go();

  EXPECT_EQ(r.events()[1], "irq 0x21 (window)");
  EXPECT_EQ(load_le<uint32_t>(r.machine.memory().host(0x4000 - 16)), vm::kCode + 16);  // behind the shadow of sti
  EXPECT_FALSE(r.vcpu.window_wanted());
}

TEST(Interrupts, ALateWindowIsRecordedByState) {
  Recording r(with_handler({vm::write(kDevice, 1), vm::nop(), vm::sti(), vm::nop(), vm::nop(), vm::nop(), kPowerOff}));
  r.vcpu.can.exact_window = false;
  r.vcpu.window_lag = 1;
  interrupt_on_write(r);

  r.go();

  EXPECT_EQ(r.events()[1], "irq 0x21 (state at rip 0x1014)");
}

TEST(Interrupts, AWindowRequestedAfterTheLastEventIsRecordedByState) {
  Recording r(
      with_handler({vm::read(kDevice), vm::nop(), vm::nop(), vm::nop(), vm::sti(), vm::nop(), vm::nop(), kPowerOff}));
  uint64_t boundaries = 0;
  r.vcpu.kick_now = [&] {  // on the second nop, with interrupts off
    if (++boundaries != 4) return false;
    r.machine.vectors.push_back(0x21);
    return true;
  };

  r.go();

  EXPECT_EQ(r.where(1).placement, Placement::state);
}

TEST(Interrupts, AWindowThatOpensBehindAKickAtAnOpenBoundaryIsRecordedByState) {
  Recording r(with_handler({vm::write(kDevice, 1), vm::sti(), vm::nop(), vm::nop(), vm::nop(), vm::nop(), kPowerOff}));
  interrupt_on_write(r);
  r.vcpu.window_lag = 10;
  bool kicked = false;
  r.vcpu.kick_now = [&] { return r.vcpu.can_interrupt().value() && !kicked && (kicked = true); };
  r.vcpu.way_out = [] { return vm::Exit{vm::WindowOpen{}}; };

  r.go();

  EXPECT_EQ(r.where(1).placement, Placement::state);
}

TEST(Interrupts, BetweenExitsAreRecordedWithTheWholeState) {
  Recording r(with_handler({vm::sti(), vm::read(kDevice), vm::nop(), vm::nop(), vm::nop(), kPowerOff}));
  uint64_t boundaries = 0;
  vm::CpuState there;
  r.vcpu.kick_now = [&] {
    if (++boundaries != 5) return false;
    there = r.vcpu.state().value();
    r.machine.vectors.push_back(0x21);
    return true;
  };

  r.go();

  ASSERT_EQ(r.where(1).placement, Placement::state);
  EXPECT_EQ(r.where(1).state->cpu, there);
  EXPECT_EQ(r.where(1).state->ram_digest, vm::RamDigest(vm::FakeMachine(r.clock).memory()).value());  // all zero so far
}

TEST(Interrupts, AfterAKickAtAReturnEnterWhereItLeads) {
  constexpr uint8_t kRet = 0xc3;
  Recording r(with_handler({vm::sti(), vm::read(kDevice), vm::nop(), vm::nop(), vm::nop(), kPowerOff}));
  constexpr uint64_t kReturn = vm::kCode + 8;
  *r.machine.memory().host(kReturn) = kRet;
  r.vcpu.kick_now = [&] {
    if (r.vcpu.quick_registers().rip != kReturn || !r.vcpu.delivered.empty()) return false;
    r.machine.vectors.push_back(0x21);
    return true;
  };

  r.go();

  ASSERT_EQ(r.where(1).placement, Placement::state);
  EXPECT_EQ(r.where(1).state->cpu.rip, kReturn + 4);
}

TEST(Interrupts, AfterAKickInCodeThatWasJustWrittenEnterWhereOlderCodeRuns) {
  constexpr uint64_t kOlderCode = vm::kCode + vm::kPageSize;
  vm::Program program =
      with_handler({vm::sti(), vm::read(kDevice), vm::store(vm::kCode + 0x800), vm::nop(), vm::nop(), vm::jump(kOlderCode)});
  program.add(kOlderCode, {vm::nop(), kPowerOff});
  Recording r(program);
  r.machine.device.on_read = [](unsigned, uint64_t) -> uint64_t { return 1; };  // what the guest stores
  r.vcpu.kick_now = [&] {
    if (r.vcpu.quick_registers().rip != vm::kCode + 12 || !r.vcpu.delivered.empty()) return false;
    r.machine.vectors.push_back(0x21);
    return true;
  };

  r.go();

  ASSERT_EQ(r.where(1).placement, Placement::state);
  EXPECT_EQ(r.where(1).state->cpu.rip, kOlderCode);
}

TEST(Interrupts, TwoThatWaitEnterOneAfterTheOther) {
  Recording r(with_handler({vm::sti(), vm::nop(), vm::write(kDevice, 1), vm::nop(), kPowerOff}));
  r.on_write = [&r](uint64_t offset, uint64_t) {
    if (offset == 0) r.machine.vectors = {0x21, 0x22};
  };

  r.go();

  EXPECT_THAT(r.vcpu.delivered, ElementsAre(0x21, 0x22));
  EXPECT_THAT(r.events(), ElementsAre(testing::_, "irq 0x21 (boundary)", HasSubstr("->"), "irq 0x22 (window)",
                                      HasSubstr("->"), testing::_));
}

TEST(Interrupts, AHaltedGuestIsWokenByItsTimer) {
  MonotonicClock clock;
  vm::FakeMachine machine(clock);
  vm::FakeVcpu vcpu(machine.memory(), with_handler({vm::sti(), vm::halt(), vm::write(kDevice, 2)}));
  FakeWriter log;
  vm::CpuModel model;
  auto session = LiveSession::create(machine, vcpu, model, clock, &log, {.max_events = 4}).value();
  machine.timers().arm(2'000'000, [&] { machine.vectors.push_back(0x21); });

  auto stop = session->resume(vm::ResumeFor::go);

  ASSERT_TRUE(stop.has_value());
  EXPECT_THAT(log.texts(), ElementsAre("halt", "irq 0x21 (boundary)", HasSubstr("->"), HasSubstr("<- 0x2")));
}

TEST(Interrupts, AHaltThatNothingWakesEndsAtItsTimeLimit) {
  MonotonicClock clock;
  vm::FakeMachine machine(clock);
  vm::FakeVcpu vcpu(machine.memory(), with_handler({vm::halt()}));
  FakeWriter log;
  vm::CpuModel model;
  auto session = LiveSession::create(machine, vcpu, model, clock, &log, {.max_ns = 5'000'000}).value();

  auto stop = session->resume(vm::ResumeFor::go);

  ASSERT_TRUE(stop.has_value());
  EXPECT_EQ(stop->reason, "--max-seconds 0.005");
  EXPECT_EQ(log.texts().size(), 1u);
}

TEST(Interrupts, KicksThatNobodyAskedForChangeNothing) {
  auto record = [](std::function<bool()> kick_now) {
    Recording r(
        with_handler({vm::sti(), vm::nop(), vm::write(kDevice, 1), vm::nop(), vm::nop(), vm::read(kDevice), kPowerOff}));
    interrupt_on_write(r);
    r.vcpu.kick_now = std::move(kick_now);
    r.go();
    return r.events();
  };
  int boundaries = 0;

  auto quiet = record(nullptr);
  auto kicked = record([&] { return ++boundaries % 2 == 0; });

  EXPECT_EQ(quiet, kicked);
}

TEST(Interrupts, AKickBeforeTheFrameIsPushedLosesNothing) {
  Recording r(with_handler({vm::sti(), vm::nop(), vm::write(kDevice, 1), kPowerOff}));
  interrupt_on_write(r);
  bool kicked = false;
  r.vcpu.kick_now = [&] {
    if (kicked || !r.vcpu.injection_pending().value()) return false;
    r.session->kick_for_test();
    return kicked = true;
  };

  r.go();

  EXPECT_TRUE(kicked);
  EXPECT_THAT(r.vcpu.delivered, ElementsAre(0x21));
  EXPECT_THAT(r.events(), ElementsAre(testing::_, "irq 0x21 (boundary)", testing::_, testing::_));
}

TEST(Interrupts, AStepOfAPersonHoldsThem) {
  Recording r(with_handler({vm::sti(), vm::nop(), vm::write(kDevice, 1), vm::nop(), vm::nop(), kPowerOff}));
  interrupt_on_write(r);

  for (int i = 0; i < 5; ++i) EXPECT_EQ(r.go(vm::ResumeFor::step).kind, Kind::step);
  uint64_t rip = r.vcpu.state()->rip;
  r.go();

  EXPECT_EQ(rip, vm::kCode + 20);
  EXPECT_EQ(r.events()[1], "irq 0x21 (state at rip 0x1014)");
}

TEST(Interrupts, AWalkLetsThemIn) {
  Recording r(with_handler({vm::sti(), vm::nop(), vm::write(kDevice, 1), vm::nop(), vm::nop(), kPowerOff}));
  interrupt_on_write(r);

  for (int i = 0; i < 4; ++i) EXPECT_EQ(r.go(vm::ResumeFor::walk).kind, Kind::step);

  EXPECT_THAT(r.vcpu.delivered, ElementsAre(0x21));
}

TEST(Interrupts, ATimerThatIsDueBetweenExitsDoesItsDmaAtAState) {
  Recording r(with_handler({vm::read(kDevice), vm::nop(), vm::nop(), vm::nop(), vm::read(kDevice), kPowerOff}));
  r.tick(1000);
  r.machine.timers().arm(2500, [&] { r.machine.post_dma(0x3000, {7}); });
  r.vcpu.kick_now = [&] {
    return r.machine.timers().next_deadline_ns().value_or(UINT64_MAX) <= r.machine.timers().now_ns();
  };

  r.go();

  ASSERT_EQ(r.events().size(), 4u);
  EXPECT_EQ(r.where(1).placement, Placement::state);
  EXPECT_EQ(r.where(1).state->cpu.rip, vm::kCode + 12);
  EXPECT_EQ(r.where(1).state->ram_digest, 0u);
}

TEST(Interrupts, AResetBetweenExitsHasItsPlaceFromAWriteOfNothing) {
  vm::Program program = {vm::read(kDevice), vm::nop(), vm::nop(), vm::nop(), vm::jump(vm::kCode + 4)};
  program.add(vm::reset_state().rip, {kPowerOff});
  Recording r(program);
  uint64_t boundaries = 0;
  r.vcpu.kick_now = [&] {
    if (++boundaries != 4) return false;
    r.machine.power = vm::PowerEvent{vm::PowerEvent::Kind::reset, "a watchdog", 0};
    return true;
  };

  r.go();

  ASSERT_EQ(r.events().size(), 4u);
  EXPECT_EQ(r.where(1).placement, Placement::state);
  EXPECT_EQ(r.where(1).state->cpu.rip, vm::kCode + 12);
  EXPECT_THAT(r.events()[1], HasSubstr("dma"));
  EXPECT_THAT(r.events()[2], HasSubstr("reset"));
  EXPECT_EQ(r.machine.resets, 1);
}

TEST(Interrupts, AResetAtABoundaryNeedsNoPlace) {
  vm::Program program = {vm::out(kPowerPort, 1)};
  program.add(vm::reset_state().rip, {kPowerOff});
  Recording r(program);

  r.go();

  ASSERT_EQ(r.events().size(), 3u);
  EXPECT_THAT(r.events()[1], HasSubstr("reset"));
}

TEST(Interrupts, SeveralThingsAtOnePointShareItsStateOnce) {
  Recording r(with_handler({vm::sti(), vm::read(kDevice), vm::nop(), vm::nop(), kPowerOff}));
  uint64_t boundaries = 0;
  r.vcpu.kick_now = [&] {
    if (++boundaries != 4) return false;
    r.machine.post_dma(0x3000, {7});
    r.machine.vectors.push_back(0x21);
    return true;
  };

  r.go();

  EXPECT_EQ(r.where(1).placement, Placement::state);     // the DMA
  EXPECT_EQ(r.where(2).placement, Placement::boundary);  // the interrupt, right after it
}

TEST(Interrupts, InputEntersAtAConsistentPointAndWaitsForRoom) {
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  Fd reading(pipe_fds[0]), writing(pipe_fds[1]);
  ASSERT_TRUE(write_all(writing.get(), Bytes{'a', 'b', 'c'}, "pipe"));
  Recording r({vm::nop(), vm::read(kDevice), vm::jump(vm::kCode)}, {}, true, reading.get());
  r.machine.input.free = 2;
  r.vcpu.slice = 3;
  r.machine.device.on_read = [&](unsigned, uint64_t) -> uint64_t {
    if (r.machine.input.received == "ab") r.machine.input.free = 5;
    if (r.machine.input.received == "abc") r.machine.power = vm::PowerEvent{vm::PowerEvent::Kind::power_off, "got it", 0};
    return 0;
  };

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.reason, "the guest powered off (got it)");
  EXPECT_EQ(r.machine.input.received, "abc");
}

/// A descriptor that says that the run is to end once say() was called.
class StopRequest {
 public:
  StopRequest() {
    int fds[2];
    CHECK(::pipe(fds) == 0);
    reading_ = Fd(fds[0]);
    writing_ = Fd(fds[1]);
  }
  int fd() const { return reading_.get(); }
  void say() { CHECK(write_all(writing_.get(), Bytes{1}, "pipe").has_value()); }

 private:
  Fd reading_, writing_;
};

TEST(Interrupts, TheStopDescriptorEndsTheRunAtTheNextBoundary) {
  StopRequest request;
  request.say();
  Recording r({vm::read(vm::kDevice), vm::jump(vm::kCode)}, {.stop_fd = request.fd()});

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.reason, "interrupted by the user");
  trace::End end = r.session->finish(stop.reason).value();
  EXPECT_EQ(end.where.placement, trace::Placement::boundary);
}

TEST(Interrupts, AGuestWithoutEventsEndsAtAMatchedStateAfterTheGrace) {
  StopRequest request;
  Recording r({vm::nop(), vm::jump(vm::kCode)}, {.stop_fd = request.fd()});
  bool said = false;
  r.vcpu.on_instruction = [&] {  // before its first instruction a guest is at a boundary
    if (!std::exchange(said, true)) request.say();
    r.clock.advance(100'000);
  };

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.reason, "interrupted by the user");
  EXPECT_GE(r.machine.timers().now_ns(), LiveSession::kEndGraceNs);
  trace::End end = r.session->finish(stop.reason).value();
  EXPECT_EQ(end.where.placement, trace::Placement::state);
}

}  // namespace
}  // namespace dejavm::record
