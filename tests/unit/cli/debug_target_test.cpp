// What gdb sees of a session.
#include "cli/debug_target.h"

#include <gmock/gmock.h>

#include "fake_session.h"

namespace dejavm::cli {
namespace {

using From = vm::SessionStop::Kind;
using To = gdb::Stop::Kind;
using gdb::ResumeKind;
using gdb::WatchKind;
using testing::ElementsAre;

class DebugTargetTest : public testing::Test {
 protected:
  gdb::Stop go(vm::SessionStop stop, ResumeKind kind = ResumeKind::go) {
    session_.stops.push_back(std::move(stop));
    return target_.resume({kind}).value();
  }
  vm::SessionStop device_stop(unsigned id = 0) {
    return {.kind = From::device,
            .seen = {{vm::Space::mmio, vm::Direction::write, 4, 0xfebc0080, 1}, 123, 0x1234},
            .break_id = id};
  }

  FakeSession session_;
  DebugTarget target_{session_};
};

TEST_F(DebugTargetTest, StopsAreTranslated) {
  EXPECT_EQ(go({.kind = From::step}, ResumeKind::step).kind, To::step);
  EXPECT_EQ(go({.kind = From::breakpoint}).kind, To::breakpoint);
  EXPECT_EQ(go({.kind = From::interrupted}).kind, To::interrupted);
  EXPECT_THAT(session_.resumed, ElementsAre(vm::ResumeFor::step, vm::ResumeFor::go, vm::ResumeFor::go));
}

TEST_F(DebugTargetTest, ADeviceStopSaysTheLineOfTheContract) {
  gdb::Stop stop = go(device_stop());

  EXPECT_EQ(stop.kind, To::device);
  EXPECT_EQ(stop.console, "mmio: edu+0x80 <- 0x1 (4 bytes) at 0xfebc0080, rip 0x1234, event 123\n");
}

TEST_F(DebugTargetTest, TheEndOfALiveGuestIsItsExit) {
  gdb::Stop stop = go({.kind = From::ended, .reason = "the guest exited", .exit_status = 33});

  EXPECT_EQ(stop.kind, To::exited);
  EXPECT_EQ(stop.exit_status, 33);
  EXPECT_EQ(stop.console, "dejavm: the guest exited\n");
  EXPECT_EQ(target_.end()->exit_status, 33);
}

TEST_F(DebugTargetTest, ADivergenceSaysAll) {
  gdb::Stop stop = go({.kind = From::diverged, .reason = "access divergence at event 7\n"});

  EXPECT_EQ(stop.kind, To::diverged);
  EXPECT_EQ(stop.console, "access divergence at event 7\n");
}

TEST_F(DebugTargetTest, AWatchOnADeviceIsAnAccessBreak) {
  ASSERT_TRUE(target_.insert_watch(WatchKind::read, {0xfebc0080}, 4));
  ASSERT_EQ(session_.breaks().list().size(), 1u);
  unsigned id = session_.breaks().list()[0].id;

  gdb::Stop stop = go(device_stop(id));
  Status removed = target_.remove_watch(WatchKind::read, {0xfebc0080}, 4);

  EXPECT_EQ(stop.kind, To::watch);
  EXPECT_EQ(stop.watch_addr, 0xfebc0080u);
  EXPECT_EQ(stop.watch_kind, WatchKind::read);
  EXPECT_TRUE(removed);
  EXPECT_TRUE(session_.breaks().list().empty());
}

TEST_F(DebugTargetTest, AWatchOnRamWalksUntilItChanges) {
  ASSERT_TRUE(target_.insert_watch(WatchKind::write, {0x2000}, 4));
  session_.stops = {{.kind = From::step}, {.kind = From::step}, {.kind = From::step}};
  session_.on_resume = [&] {
    if (session_.resumed.size() == 2) *session_.memory().host(0x2001) = 9;
  };

  gdb::Stop stop = target_.resume({ResumeKind::go}).value();

  EXPECT_EQ(stop.kind, To::watch);
  EXPECT_EQ(stop.watch_addr, 0x2000u);
  EXPECT_THAT(session_.resumed, ElementsAre(vm::ResumeFor::walk, vm::ResumeFor::walk));
}

TEST_F(DebugTargetTest, ReadWatchesOfRamAreRefused) {
  EXPECT_THAT(target_.insert_watch(WatchKind::access, {0x2000}, 4).error().what, testing::HasSubstr("is RAM"));
}

class EngineWatchTest : public DebugTargetTest {
 protected:
  EngineWatchTest() { session_.vcpu().can.max_watchpoints = SIZE_MAX; }
  vm::SessionStop hit(size_t watchpoint) {
    return {.kind = From::watch,
            .watch = {.watchpoint = watchpoint, .address = 0x2001, .instruction = vm::GuestVirt{0x1234}}};
  }
};

TEST_F(EngineWatchTest, AWatchOnRamIsAWatchpoint) {
  ASSERT_TRUE(target_.insert_watch(WatchKind::access, {0x2000}, 4));
  ASSERT_TRUE(target_.insert_watch(WatchKind::read, {0x3000}, 1));

  gdb::Stop stop = go(hit(1));

  EXPECT_EQ(stop.kind, To::watch);
  EXPECT_EQ(stop.watch_addr, 0x3000u);
  EXPECT_EQ(stop.watch_kind, WatchKind::read);
  EXPECT_THAT(session_.resumed, ElementsAre(vm::ResumeFor::go));
  EXPECT_THAT(session_.vcpu().watchpoints,
              ElementsAre(vm::Watchpoint{.first = 0x2000, .length = 4, .on_read = true, .on_write = true},
                          vm::Watchpoint{.first = 0x3000, .length = 1, .on_read = true, .on_write = false}));
}

TEST_F(EngineWatchTest, APhysicalOneIsAPhysicalWatchpoint) {
  ASSERT_TRUE(target_.insert_watch(WatchKind::write, {0x2000}, 4));
  ASSERT_TRUE(target_.insert_physical_watch(WatchKind::write, {0x2000}, 4));
  ASSERT_TRUE(target_.remove_watch(WatchKind::write, {0x2000}, 4));

  ASSERT_EQ(session_.vcpu().watchpoints.size(), 1u);
  EXPECT_EQ(session_.vcpu().watchpoints[0].by, vm::Watchpoint::By::physical);
  EXPECT_EQ(go(hit(0)).watch_addr, 0x2000u);
  EXPECT_TRUE(target_.remove_physical_watch(WatchKind::write, {0x2000}, 4));
  EXPECT_TRUE(session_.vcpu().watchpoints.empty());
}

TEST_F(EngineWatchTest, OfAnyLength) {
  EXPECT_TRUE(target_.insert_watch(WatchKind::write, {0x1000}, 1u << 30));
  EXPECT_EQ(session_.vcpu().watchpoints[0].length, 1u << 30);
}

TEST_F(EngineWatchTest, ARemovedOneIsGone) {
  ASSERT_TRUE(target_.insert_watch(WatchKind::write, {0x2000}, 4));
  ASSERT_TRUE(target_.insert_watch(WatchKind::write, {0x3000}, 4));

  ASSERT_TRUE(target_.remove_watch(WatchKind::write, {0x2000}, 4));
  gdb::Stop stop = go(hit(0));

  EXPECT_EQ(stop.watch_addr, 0x3000u);
  target_.detach();
  EXPECT_TRUE(session_.vcpu().watchpoints.empty());
}

TEST_F(EngineWatchTest, AMonitorsWatchSaysWhatItSaw) {
  target_.monitor("watch phys 0x2000 4");
  session_.event = 7;

  gdb::Stop stop = go(hit(0));

  EXPECT_EQ(stop.kind, To::device);
  EXPECT_EQ(stop.console, "watch: physical 0x2001 written, rip 0x1234, after event 7\n");
}

TEST_F(EngineWatchTest, ADevicesWriteNamesNoInstruction) {
  target_.monitor("watch virt 0x2000");
  vm::SessionStop stop = hit(0);
  stop.watch.instruction.reset();

  EXPECT_EQ(go(stop).console, "watch: 0x2001 written by a device, after event -1\n");
}

TEST_F(EngineWatchTest, AWatchOnADeviceSaysTheLineOfTheAccess) {
  ASSERT_TRUE(target_.insert_watch(WatchKind::write, {0xfebc0080}, 4));

  gdb::Stop stop = go(device_stop(session_.breaks().list()[0].id));

  EXPECT_EQ(stop.kind, To::watch);
  EXPECT_EQ(stop.console, "mmio: edu+0x80 <- 0x1 (4 bytes) at 0xfebc0080, rip 0x1234, event 123\n");
  EXPECT_EQ(session_.vcpu().watchpoints.size(), 1u) << "the address may lead to RAM later";
}

TEST_F(EngineWatchTest, DetachLeavesTheMonitors) {
  target_.monitor("watch phys 0x5000");
  ASSERT_TRUE(target_.insert_watch(WatchKind::write, {0x2000}, 4));
  target_.detach();
  ASSERT_EQ(session_.vcpu().watchpoints.size(), 1u);
  EXPECT_EQ(session_.vcpu().watchpoints[0].first, 0x5000u);
}

TEST_F(DebugTargetTest, AWatchOnAnAddressThatDoesNotTranslateNeverFails) {
  vm::CpuState cpu = vm::FakeVcpu::start_state();
  cpu.cr0 |= 0x80000000;  // paging with tables of zeros
  ASSERT_TRUE(session_.vcpu().set_state(cpu));

  EXPECT_TRUE(target_.insert_watch(WatchKind::write, {0xc0000000}, 4));
  EXPECT_EQ(session_.breaks().check({{vm::Space::mmio, vm::Direction::write, 4, 0xc0000000, 0}, 0, {}}, session_.devices()),
            nullptr);
  ASSERT_TRUE(session_.vcpu().set_state(vm::FakeVcpu::start_state()));  // now it translates
  EXPECT_NE(session_.breaks().check({{vm::Space::mmio, vm::Direction::write, 4, 0xc0000000, 0}, 1, {}}, session_.devices()),
            nullptr);
}

TEST_F(DebugTargetTest, ReadingADeviceGivesItsLastAccessAndTouchesNothing) {
  session_.seen.note({{vm::Space::mmio, vm::Direction::read, 4, 0xfebc0080, 0x44332211}, 0, {}});
  Bytes bytes(6, 0xee);

  size_t got = target_.read_virtual({0xfebc0080}, bytes);
  size_t nobody = target_.read_physical({0xd0000000}, bytes);

  EXPECT_EQ(got, 6u);
  EXPECT_EQ(nobody, 0u);
  EXPECT_THAT(bytes, ElementsAre(0x11, 0x22, 0x33, 0x44, 0, 0));
}

TEST_F(DebugTargetTest, AReadStopsWhereMemoryEnds) {
  Bytes bytes(8);

  EXPECT_EQ(target_.read_physical({vm::kRamSize - 4}, {bytes.data(), 4}), 4u);
  EXPECT_EQ(target_.read_physical({vm::kRamSize - 4}, bytes), 4u);
}

TEST_F(DebugTargetTest, AReadOnlySessionRefusesChanges) {
  session_.read_only = "a replay repeats its recording";

  EXPECT_EQ(target_.set_registers({}).error().what, "a replay repeats its recording");
  EXPECT_FALSE(target_.write_virtual({0x1000}, Bytes{1}));
  EXPECT_FALSE(target_.write_physical({0x1000}, Bytes{1}));
  EXPECT_EQ(*session_.memory().host(0x1000), 0);
}

TEST_F(DebugTargetTest, ALiveSessionTakesThem) {
  EXPECT_TRUE(target_.write_virtual({0x1000}, Bytes{1}));
  EXPECT_EQ(*session_.memory().host(0x1000), 1);
}

TEST_F(DebugTargetTest, BreakpointsBeyondTheEnginesNumberAreRefusedAndTheOthersStay) {
  for (uint64_t addr = 1; addr <= 4; ++addr) EXPECT_TRUE(target_.insert_breakpoint({addr}));

  EXPECT_FALSE(target_.insert_breakpoint({5}));
  EXPECT_EQ(session_.breakpoints.size(), 4u);
  EXPECT_TRUE(target_.remove_breakpoint({2}));
  EXPECT_TRUE(target_.insert_breakpoint({5}));
}

TEST_F(DebugTargetTest, DetachTakesEverythingAwayButMonitorBreaks) {
  target_.monitor("mmio break edu");
  ASSERT_TRUE(target_.insert_breakpoint({1}));
  ASSERT_TRUE(target_.insert_watch(WatchKind::write, {0xfebc0080}, 4));

  target_.detach();

  EXPECT_TRUE(session_.breakpoints.empty());
  EXPECT_EQ(session_.breaks().list().size(), 1u);
}

}  // namespace
}  // namespace dejavm::cli
