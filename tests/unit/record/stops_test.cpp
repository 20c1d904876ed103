// How a live guest stops for a debugger.
#include <gmock/gmock.h>

#include "recording.h"

namespace dejavm::record {
namespace {

using vm::kDevice;
using Kind = vm::SessionStop::Kind;

const vm::Op kPowerOff = vm::out(kPowerPort, 0);

TEST(Stops, AnAccessBreakStopsAfterTheInstruction) {
  Recording r({vm::write(kDevice + 8, 1), vm::read(kDevice + 8), kPowerOff});
  r.session->breaks().add({.places = {{"dev+0x8", "dev", vm::Space::mmio, 8, 8}}, .direction = vm::Direction::read}, 0);

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.kind, Kind::device);
  EXPECT_EQ(stop.break_id, 1u);
  EXPECT_EQ(stop.seen.event, 1u);
  EXPECT_EQ(stop.seen.access.value, 1u);
  EXPECT_EQ(stop.seen.instruction, vm::kCode + 4);
  EXPECT_FALSE(r.vcpu.in_access());
  EXPECT_EQ(r.vcpu.state()->rip, vm::kCode + 8);
  EXPECT_EQ(r.vcpu.state()->gpr[vm::rax], 1u);
}

TEST(Stops, AnAccessBreakOnTheReadOfAReadModifyWriteStopsBehindTheWrite) {
  Recording r({vm::increment(kDevice), kPowerOff});
  r.session->breaks().add({.direction = vm::Direction::read}, 0);

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.seen.event, 0u);
  EXPECT_EQ(r.session->last_event(), 1);
  EXPECT_EQ(r.machine.device.registers[0], 1u);
}

TEST(Stops, InterruptStopsAGuestThatMakesNoExits) {
  Recording r({vm::nop(), vm::jump(vm::kCode)});
  r.session->interrupt();

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.kind, Kind::interrupted);
}

TEST(Stops, ABreakpointStopsBeforeItsInstruction) {
  Recording r({vm::nop(), vm::nop(), vm::read(kDevice), kPowerOff});
  ASSERT_TRUE(r.session->set_breakpoints({{vm::kCode + 8}}));

  vm::SessionStop stop = r.go();
  auto events_then = r.events();
  vm::SessionStop end = r.go();

  EXPECT_EQ(stop.kind, Kind::breakpoint);
  EXPECT_TRUE(events_then.empty());
  EXPECT_EQ(end.kind, Kind::ended);
}

TEST(Stops, ABreakpointWhereTheRecorderLeftTheGuestStopsToo) {
  Recording r({vm::read(kDevice), vm::nop(), vm::nop(), vm::nop(), kPowerOff});
  int boundaries = 0;
  r.vcpu.kick_now = [&] { return ++boundaries % 2 == 0; };
  ASSERT_TRUE(r.session->set_breakpoints({{vm::kCode + 4}, {vm::kCode + 8}, {vm::kCode + 12}}));

  for (uint64_t offset : {4, 8, 12}) {
    EXPECT_EQ(r.go().kind, Kind::breakpoint);
    EXPECT_EQ(r.vcpu.state()->rip, vm::kCode + offset);
  }
  EXPECT_EQ(r.go().kind, Kind::ended);
}

TEST(Stops, AStepIsOneInstructionWithAllItsAccesses) {
  Recording r({vm::increment(kDevice), vm::nop(), kPowerOff});

  vm::SessionStop first = r.go(vm::ResumeFor::step);
  uint64_t after_first = r.vcpu.state()->rip;
  r.go(vm::ResumeFor::step);

  EXPECT_EQ(first.kind, Kind::step);
  EXPECT_EQ(after_first, vm::kCode + 3);
  EXPECT_EQ(r.session->last_event(), 1);
  EXPECT_EQ(r.vcpu.state()->rip, vm::kCode + 7);
}

TEST(Stops, TheGuestsClockStandsStillWhileItIsStopped) {
  Recording r({vm::nop(), vm::nop(), kPowerOff});
  r.tick(1000);

  r.go(vm::ResumeFor::step);
  r.clock.advance(1'000'000'000);
  r.go(vm::ResumeFor::step);

  EXPECT_EQ(r.machine.timers().now_ns(), 2000u);
}

TEST(Stops, TheHistoryKnowsTheLastAccess) {
  Recording r({vm::write(kDevice + 8, 0x11223344), kPowerOff});

  r.go();

  EXPECT_EQ(r.session->history().mmio_byte(kDevice + 9), 0x33);
  EXPECT_EQ(r.session->history().latest()->event, 1u);
}

TEST(Stops, ADevicesWriteIntoAWatchedRangeStopsWhereItEnters) {
  Recording r({vm::write(kDevice + 0x10, 1), vm::nop(), kPowerOff});
  r.vcpu.can.max_watchpoints = 1;
  r.on_write = [&](uint64_t offset, uint64_t) {
    if (offset == 0x10) r.machine.post_dma(0x3000, {1, 2, 3});
  };
  ASSERT_TRUE(r.session->watches().add(r.vcpu, {.first = 0x3002, .length = 8}, true));

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.kind, Kind::watch);
  EXPECT_EQ(stop.watch.address, 0x3002u);
  EXPECT_FALSE(stop.watch.instruction.has_value());
  EXPECT_EQ(r.session->last_event(), 1);
  EXPECT_EQ(r.vcpu.state()->rip, vm::kCode + 4);
  EXPECT_EQ(r.go().kind, Kind::ended);
}

TEST(Stops, ADevicesWriteBesideAWatchedRangeDoesNotStop) {
  Recording r({vm::write(kDevice + 0x10, 1), kPowerOff});
  r.vcpu.can.max_watchpoints = 3;
  r.on_write = [&](uint64_t, uint64_t) { r.machine.post_dma(0x3000, {1, 2, 3}); };
  ASSERT_TRUE(r.session->watches().add(r.vcpu, {.first = 0x3003, .length = 8}, true));
  ASSERT_TRUE(r.session->watches().add(r.vcpu, {.first = 0x2000, .length = 0x1000}, true));
  ASSERT_TRUE(r.session->watches().add(r.vcpu, {.first = 0x3000, .on_read = true, .on_write = false}, true));

  EXPECT_EQ(r.go().kind, Kind::ended);
}

}  // namespace
}  // namespace dejavm::record
