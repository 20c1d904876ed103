// Where events enter at replay, and where a replay stops.
#include <gmock/gmock.h>

#include "replaying.h"

namespace dejavm::replay {
namespace {

using testing::ElementsAre;
using vm::kCode;
using vm::kDevice;
using Kind = vm::SessionStop::Kind;
using trace::Placement;

/// Where the handler of vector 0x21 will return to: the low half of the frame's RIP.
uint64_t interrupted_rip(const Replaying& r) { return load_le<uint64_t>(r.memory->host(0x4000 - 16)); }

vm::Program with_handler(std::initializer_list<vm::Op> code) {
  vm::Program program(code);
  return program.handler(0x21, {vm::read(kDevice + 4), vm::iret()});
}

trace::Where at_state(uint64_t rip, uint64_t rax, bool interrupts, uint64_t ram = 0) {
  auto state = std::make_shared<trace::MatchedState>();
  state->cpu = vm::FakeVcpu::start_state();
  state->cpu.rip = rip;
  state->cpu.gpr[vm::rax] = rax;
  if (interrupts) state->cpu.rflags |= vm::kRflagsIf;
  state->ram_digest = ram;
  return {Placement::state, 0, state};
}

TEST(Placement, ABoundaryInterruptEntersRightAfterTheEvent) {
  Replaying r({mmio_read(kDevice, 7), irq(0x21), mmio_read(kDevice + 4, 1), mmio_write(kDevice, 1)},
              with_handler({vm::sti(), vm::read(kDevice), vm::nop(), vm::write(kDevice, std::nullopt)}));

  EXPECT_EQ(r.go().kind, Kind::ended);
  EXPECT_EQ(interrupted_rip(r), kCode + 8);
}

TEST(Placement, AWindowInterruptEntersBehindTheShadow) {
  for (bool exact : {true, false}) {
    Replaying r({mmio_read(kDevice, 7), irq(0x21, {Placement::window, 0, nullptr}), mmio_read(kDevice + 4, 1)},
                with_handler({vm::read(kDevice), vm::nop(), vm::sti(), vm::nop(), vm::nop(), vm::read(kDevice)}));
    r.vcpu->can.exact_window = exact;

    EXPECT_EQ(r.go().kind, Kind::ended);
    EXPECT_EQ(interrupted_rip(r), kCode + 16) << "exact window: " << exact;
    EXPECT_EQ(r.vcpu->steps > 0, !exact);
  }
}

TEST(Placement, AStepsInterruptEntersAfterThatManyInstructions) {
  Replaying r({mmio_read(kDevice, 7), irq(0x21, {Placement::steps, 3, nullptr}), mmio_read(kDevice + 4, 1)},
              with_handler({vm::sti(), vm::read(kDevice), vm::nop(), vm::nop(), vm::nop(), vm::nop(), vm::read(kDevice)}));

  EXPECT_EQ(r.go().kind, Kind::ended);
  EXPECT_EQ(interrupted_rip(r), kCode + 8 + 12);
}

TEST(Placement, AStateInterruptEntersWhereTheStateMatches) {
  for (bool hardware : {true, false}) {
    Replaying r({mmio_read(kDevice, 7), irq(0x21, at_state(kCode + 16, 7, true)), mmio_read(kDevice + 4, 1)},
                with_handler({vm::sti(), vm::read(kDevice), vm::nop(), vm::nop(), vm::nop(), vm::read(kDevice)}));
    r.vcpu->can.hardware_breakpoints = hardware;

    EXPECT_EQ(r.go().kind, Kind::ended);
    EXPECT_EQ(interrupted_rip(r), kCode + 16) << "hardware breakpoints: " << hardware;
    EXPECT_EQ(r.vcpu->steps > 0, !hardware);
  }
}

TEST(Placement, AStateIsMatchedByRamToo) {
  // The loop passes the same registers twice; only the store differs. rcx is not part of the difference: it is reloaded.
  vm::GuestMemory after = vm::GuestMemory::create(vm::kRamSize, 0).value();
  ASSERT_TRUE(after.write_backing(0x2000, Bytes{7}, vm::Writer::loader));
  uint64_t ram = vm::RamDigest(after).value();
  vm::Program program = {vm::read(kDevice), vm::nop(), vm::nop(), vm::store(0x2000), vm::jump(kCode + 4)};
  for (bool hardware : {true, false}) {
    Replaying r({mmio_read(kDevice, 7), dma(0x3000, {1}, at_state(kCode + 8, 7, false, ram))}, program, std::nullopt,
                {.until = Position{1, 0}});
    r.vcpu->can.hardware_breakpoints = hardware;

    EXPECT_EQ(r.go().kind, Kind::position);
    EXPECT_EQ(*r.memory->host(0x2000), 7) << "hardware breakpoints: " << hardware;
    EXPECT_EQ(*r.memory->host(0x3000), 1);
  }
}

TEST(Placement, AStateBreakpointIsGoneAfterwardsAndTheUsersStays) {
  Replaying r({mmio_read(kDevice, 7), dma(0x3000, {1}, at_state(kCode + 8, 7, false)), mmio_read(kDevice, 8)},
              {vm::read(kDevice), vm::nop(), vm::nop(), vm::nop(), vm::read(kDevice)});
  ASSERT_TRUE(r.replayer->set_breakpoints({{kCode + 12}}));

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.kind, Kind::breakpoint);
  EXPECT_EQ(r.vcpu->state()->rip, kCode + 12);
  EXPECT_EQ(r.replayer->last_event(), 1);
}

TEST(Placement, DmaIsAppliedBeforeTheGuestRunsOn) {
  Replaying r({mmio_write(kDevice, 1), dma(0x2000, {1, 2, 3, 4}), mmio_read(kDevice, 9)},
              {vm::write(kDevice, 1), vm::read(kDevice)}, std::nullopt, {.until = Position{1, 0}});

  EXPECT_EQ(r.go().kind, Kind::position);
  EXPECT_EQ(load_le<uint32_t>(r.memory->host(0x2000)), 0x04030201u);
  EXPECT_EQ(r.vcpu->state()->rip, kCode + 4);
}

TEST(Placement, DmaOutsideTheMemoryIsAnError) {
  Replaying r({dma(vm::kRamSize - 1, {1, 2})}, {vm::nop()});

  auto stop = r.replayer->resume(vm::ResumeFor::go);

  ASSERT_FALSE(stop.has_value());
  EXPECT_THAT(stop.error().what, testing::HasSubstr("lie outside the guest's memory"));
}

TEST(Placement, AResetAndASetStateAreApplied) {
  auto cpu = std::make_shared<vm::CpuState>(vm::FakeVcpu::start_state());
  cpu->rip = kCode + 0x100;
  vm::Program program = {vm::read(kDevice)};
  program.add(kCode + 0x100, {vm::read(kDevice + 8), vm::triple_fault()});
  Replaying r({mmio_read(kDevice, 7),
               {trace::CpuStateEvent{cpu}},
               mmio_read(kDevice + 8, 1),
               {trace::ResetEvent{true, "triple fault"}}},
              program);

  EXPECT_EQ(r.go().kind, Kind::ended);
  EXPECT_EQ(r.vcpu->state().value(), vm::reset_state());
}

TEST(Placement, AMapEventMovesMemoryAndDevices) {
  trace::MemoryMapEvent map{{{{0x100000}, vm::kRamSize, 0, true}}, {{"moved", 0, vm::Space::mmio, kDevice, 16, 0}}, {}};
  Replaying r({mmio_read(kDevice, 7), {map}}, {vm::read(kDevice)});

  EXPECT_EQ(r.go().kind, Kind::ended);
  EXPECT_EQ(r.replayer->devices()[0].device, "moved");
  EXPECT_EQ(r.memory->map()[0].base.value, 0x100000u);
}

TEST(Placement, ReadModifyWriteIsOneInstructionOfTwoEvents) {
  Replaying r({mmio_read(kDevice, 7), mmio_write(kDevice, 8), mmio_read(kDevice, 9)},
              {vm::increment(kDevice), vm::read(kDevice)}, std::nullopt, {.until = Position{0, 0}});

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.kind, Kind::position);
  EXPECT_EQ(r.replayer->last_event(), 1);  // event 0 is no consistent point
  EXPECT_EQ(r.vcpu->state()->rip, kCode + 3);
}

TEST(Positions, StepsAfterAnEvent) {
  Replaying r({mmio_read(kDevice, 7), mmio_read(kDevice, 8)},
              {vm::read(kDevice), vm::nop(), vm::nop(), vm::nop(), vm::read(kDevice)}, std::nullopt,
              {.until = Position{0, 2}});

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.kind, Kind::position);
  EXPECT_EQ(r.vcpu->state()->rip, kCode + 12);
  EXPECT_EQ(r.replayer->steps(), 2u);
}

TEST(Positions, FromTheVeryStart) {
  Replaying r({mmio_read(kDevice, 7)}, {vm::nop(), vm::nop(), vm::read(kDevice)}, std::nullopt, {.until = Position{-1, 1}});

  EXPECT_EQ(r.go().kind, Kind::position);
  EXPECT_EQ(r.vcpu->state()->rip, kCode + 4);
}

TEST(Positions, OneThatIsReachedStopsAtOnceAndTheNextGoesOn) {
  Replaying r({mmio_read(kDevice, 7), mmio_read(kDevice, 8)}, {vm::read(kDevice), vm::read(kDevice)}, std::nullopt,
              {.until = Position{0, 0}});
  r.go();
  uint64_t rip = r.vcpu->state()->rip;

  vm::SessionStop again = r.go();
  uint64_t same_rip = r.vcpu->state()->rip;
  r.replayer->set_until(std::nullopt);
  vm::SessionStop end = r.go();

  EXPECT_EQ(again.kind, Kind::position);
  EXPECT_EQ(rip, same_rip);
  EXPECT_EQ(end.kind, Kind::ended);
}

TEST(Positions, StepsCannotPassTheNextEvent) {
  Replaying r({mmio_read(kDevice, 7), mmio_read(kDevice, 8), mmio_read(kDevice, 9)},
              {vm::read(kDevice), vm::nop(), vm::read(kDevice), vm::read(kDevice)}, std::nullopt,
              {.until = Position{0, 50}});

  EXPECT_EQ(r.go().kind, Kind::position);
  EXPECT_EQ(r.replayer->last_event(), 1);
}

TEST(Positions, StepsAreInstructions) {
  Replaying r({mmio_read(kDevice, 7), dma(0x3000, {1}), mmio_read(kDevice, 8)},
              {vm::nop(), vm::read(kDevice), vm::nop(), vm::read(kDevice)});

  std::vector<uint64_t> rips;
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(r.go(vm::ResumeFor::step).kind, Kind::step);
    rips.push_back(r.vcpu->state()->rip);
  }

  EXPECT_THAT(rips, ElementsAre(kCode + 4, kCode + 8, kCode + 12, kCode + 16));
  EXPECT_EQ(r.go(vm::ResumeFor::step).kind, Kind::ended);
}

TEST(Positions, StepsTowardsAPlacedEventStopToo) {
  Replaying r({mmio_read(kDevice, 7), irq(0x21, {Placement::window, 0, nullptr}), mmio_read(kDevice + 4, 1)},
              with_handler({vm::read(kDevice), vm::nop(), vm::sti(), vm::nop(), vm::nop(), vm::read(kDevice)}));

  std::vector<uint64_t> rips;
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(r.go(vm::ResumeFor::step).kind, Kind::step);
    rips.push_back(r.vcpu->state()->rip);
  }

  EXPECT_THAT(rips, ElementsAre(kCode + 4, kCode + 8, kCode + 12, kCode + 16, vm::Program::handler_address(0x21) + 4));
}

TEST(Positions, ADeviceBreakStopsAfterTheInstruction) {
  Replaying r({mmio_read(kDevice, 7), mmio_write(kDevice, 8), mmio_read(kDevice + 4, 1)},
              {vm::increment(kDevice), vm::read(kDevice + 4)});
  r.replayer->breaks().add({.direction = vm::Direction::read, .value = 7}, 0);

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.kind, Kind::device);
  EXPECT_EQ(stop.seen.event, 0u);
  EXPECT_FALSE(r.vcpu->in_access());
  EXPECT_EQ(r.vcpu->state()->rip, kCode + 3);
  EXPECT_EQ(r.replayer->history().mmio_byte(kDevice), 8);
}

TEST(Positions, InterruptStopsAndTheReplayCanGoOn) {
  Replaying r({mmio_read(kDevice, 7)}, {vm::nop(), vm::read(kDevice)});
  r.replayer->interrupt();

  vm::SessionStop stop = r.go();
  vm::SessionStop end = r.go();

  EXPECT_EQ(stop.kind, Kind::interrupted);
  EXPECT_EQ(end.kind, Kind::ended);
}

TEST(Positions, InterruptStopsASearchThatOnlySteps) {
  Replaying r({mmio_read(kDevice, 7), dma(0x3000, {1}, at_state(kCode + 8, 99, false))},
              {vm::read(kDevice), vm::jump(kCode + 4)});
  r.vcpu->can.hardware_breakpoints = false;
  r.vcpu->on_instruction = [&] {
    if (r.vcpu->steps == 5) r.replayer->interrupt();
  };

  EXPECT_EQ(r.go().kind, Kind::interrupted);
}

TEST(Positions, KicksThatNobodyAskedForChangeNothing) {
  Replaying r({mmio_read(kDevice, 7), irq(0x21, {Placement::window, 0, nullptr}), mmio_read(kDevice + 4, 1)},
              with_handler({vm::read(kDevice), vm::nop(), vm::sti(), vm::nop(), vm::nop(), vm::read(kDevice)}));
  int boundaries = 0;
  r.vcpu->kick_now = [&] { return ++boundaries % 3 == 0; };

  EXPECT_EQ(r.go().kind, Kind::ended);
  EXPECT_EQ(interrupted_rip(r), kCode + 16);
}

TEST(Positions, AnEndByStateIsReached) {
  vm::CpuState cpu = vm::FakeVcpu::start_state();
  cpu.rip = kCode + 12;
  cpu.gpr[vm::rax] = 7;
  trace::End end = end_of(cpu, 0);
  end.where = {Placement::state, 0, std::make_shared<trace::MatchedState>(trace::MatchedState{cpu, 0})};
  Replaying r({mmio_read(kDevice, 7)}, {vm::read(kDevice), vm::nop(), vm::nop(), vm::jump(kCode + 12)}, end);

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.kind, Kind::ended);
  EXPECT_EQ(stop.reason, "the test is over");
  EXPECT_EQ(r.vcpu->state().value(), cpu);
}

TEST(Positions, AReplayIsReadOnly) {
  Replaying r({mmio_read(kDevice, 7)}, {vm::read(kDevice)});

  EXPECT_NE(r.replayer->why_read_only(), "");
}

}  // namespace
}  // namespace dejavm::replay
