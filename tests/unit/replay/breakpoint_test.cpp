// Breakpoints of a debugger while a replay is on its way somewhere: none is passed over.
#include <gmock/gmock.h>

#include "replaying.h"

namespace dejavm::replay {
namespace {

using vm::kCode;
using vm::kDevice;
using Kind = vm::SessionStop::Kind;
using trace::Placement;

/// Goes on to a breakpoint at each of these offsets in turn, then to `last`.
void expect_stops(Replaying& r, std::initializer_list<uint64_t> offsets, Kind last) {
  for (uint64_t offset : offsets) {
    EXPECT_EQ(r.go().kind, Kind::breakpoint) << "at " << offset;
    EXPECT_EQ(r.vcpu->state()->rip, kCode + offset);
  }
  EXPECT_EQ(r.go().kind, last);
}

trace::Where at_rip(uint64_t rip) {
  auto state = std::make_shared<trace::MatchedState>();
  state->cpu = vm::FakeVcpu::start_state();
  state->cpu.rip = rip;
  state->cpu.gpr[vm::rax] = 7;
  return {Placement::state, 0, state};
}

const vm::Program kNops = {vm::read(kDevice), vm::nop(), vm::nop(), vm::nop(), vm::nop(), vm::read(kDevice)};

TEST(Breakpoints, StopTheStepsToAState) {
  Replaying r({mmio_read(kDevice, 7), dma(0x3000, {1}, at_rip(kCode + 16)), mmio_read(kDevice, 8)}, kNops);
  r.vcpu->can.hardware_breakpoints = false;
  ASSERT_TRUE(r.replayer->set_breakpoints({{kCode + 8}, {kCode + 12}}));

  expect_stops(r, {8, 12}, Kind::ended);
}

TEST(Breakpoints, StopTheStepsWhereNoSlotIsLeftForTheSearch) {
  Replaying r({mmio_read(kDevice, 7), dma(0x3000, {1}, at_rip(kCode + 16)), mmio_read(kDevice, 8)}, kNops);
  r.vcpu->can.max_breakpoints = 1;
  ASSERT_TRUE(r.replayer->set_breakpoints({{kCode + 8}}));

  expect_stops(r, {8}, Kind::ended);
  EXPECT_GT(r.vcpu->steps, 0u);
}

TEST(Breakpoints, StopTheCountToAPosition) {
  Replaying r({mmio_read(kDevice, 7), mmio_read(kDevice, 8)}, kNops, std::nullopt, {.until = Position{0, 3}});
  ASSERT_TRUE(r.replayer->set_breakpoints({{kCode + 4}, {kCode + 8}}));

  expect_stops(r, {4, 8}, Kind::position);
  EXPECT_EQ(r.replayer->steps(), 3u);
}

TEST(Breakpoints, StopBehindAnAccessThatADigestCompleted) {
  trace::DigestEvent digest;
  Replaying right({mmio_read(kDevice, 7)}, kNops, std::nullopt, {.until = Position{0, 0}});
  right.go();
  digest.cpu_hash = vm::hash(right.vcpu->state().value());
  Replaying r({mmio_read(kDevice, 7), {digest}, mmio_read(kDevice, 8)}, kNops);
  ASSERT_TRUE(r.replayer->set_breakpoints({{kCode + 4}}));

  expect_stops(r, {4}, Kind::ended);
}

TEST(Breakpoints, StopWhereAKickHappensToEndTheRun) {
  Replaying r({mmio_read(kDevice, 7), mmio_read(kDevice, 8)}, kNops);
  int boundaries = 0;
  r.vcpu->kick_now = [&] { return ++boundaries % 2 == 0; };
  ASSERT_TRUE(r.replayer->set_breakpoints({{kCode + 4}, {kCode + 8}, {kCode + 12}}));

  expect_stops(r, {4, 8, 12}, Kind::ended);
}

TEST(Breakpoints, WaitUntilTheInterruptThatEntersThereReturns) {
  vm::Program program = kNops;
  program.ops[kCode] = vm::sti();
  program.ops[kCode + 4] = vm::read(kDevice);
  program.handler(0x21, {vm::nop(), vm::iret()});
  Replaying r({mmio_read(kDevice, 7), irq(0x21), mmio_read(kDevice, 8)}, program);
  ASSERT_TRUE(r.replayer->set_breakpoints({{kCode + 8}}));

  expect_stops(r, {8}, Kind::ended);
  EXPECT_THAT(r.vcpu->delivered, testing::ElementsAre(0x21));
}

TEST(Watches, ADevicesWriteStopsBehindItsEvent) {
  Replaying r({mmio_read(kDevice, 7), dma(0x3000, {1, 2}), mmio_read(kDevice, 8)}, kNops);
  r.vcpu->can.max_watchpoints = 1;
  vm::Watchpoint watched{.by = vm::Watchpoint::By::physical, .first = 0x3001};
  ASSERT_TRUE(r.replayer->watches().add(*r.vcpu, watched, true));

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.kind, Kind::watch);
  EXPECT_EQ(stop.watch.address, 0x3001u);
  EXPECT_EQ(r.replayer->last_event(), 1);
  EXPECT_EQ(r.vcpu->state()->rip, kCode + 4);
  EXPECT_EQ(r.go().kind, Kind::ended);
}

}  // namespace
}  // namespace dejavm::replay
