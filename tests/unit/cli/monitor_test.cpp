// The words of `monitor` and of the shell, and what they answer.
#include "cli/monitor.h"

#include <gmock/gmock.h>

#include "fake_session.h"
#include "temp_folder.h"
#include "trace/writer.h"

namespace dejavm::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class MonitorTest : public testing::Test {
 protected:
  std::string say(std::string_view line) { return Monitor(session_).execute(line); }

  FakeSession session_;
};

TEST_F(MonitorTest, ABreakOnAPlaceEchoesItsConditions) {
  EXPECT_EQ(say("mmio break edu+0x80 w size 4 value 0x1/0xff count 3"),
            "mmio breakpoint 1: edu+0x80 w size 4 value 0x1/0xff count 3\n");
  EXPECT_EQ(say("  mmio  break port:0x3f8  r "), "mmio breakpoint 2: port:0x3f8 r\n");

  const vm::AccessBreak& first = session_.breaks().list()[0];
  EXPECT_EQ(first.skip, 2u);
  EXPECT_EQ(first.filter.size, 4u);
  EXPECT_EQ(first.filter.value_mask, 0xffu);
  EXPECT_EQ(first.filter.direction, vm::Direction::write);
}

TEST_F(MonitorTest, ListShowsThemWithTheirHits) {
  EXPECT_EQ(say("mmio list"), "no mmio breakpoints\n");
  say("mmio break edu");
  say("mmio break serial0 w count 2");
  session_.breaks().check({{vm::Space::mmio, vm::Direction::read, 4, 0xfebc0000, 0}, 0, {}}, session_.devices());

  EXPECT_EQ(say("mmio list"), "1: edu, hit 1 time\n2: serial0 w count 2, hit 0 times\n");
}

TEST_F(MonitorTest, DeleteTakesOneOrAll) {
  say("mmio break edu");
  say("mmio break serial0");
  say("mmio break rtc");

  EXPECT_EQ(say("mmio delete 2"), "mmio breakpoint 2 deleted\n");
  EXPECT_EQ(say("mmio delete 2"), "error: mmio delete wants the number of a breakpoint, or all\n`mmio list` shows them.\n");
  EXPECT_EQ(session_.breaks().list().size(), 2u);
  EXPECT_EQ(say("mmio delete all"), "all mmio breakpoints deleted\n");
  EXPECT_TRUE(session_.breaks().list().empty());
  EXPECT_THAT(say("mmio delete"), StartsWith("error: "));
}

TEST_F(MonitorTest, WatchesAreSetListedAndDeleted) {
  session_.vcpu().can.max_watchpoints = SIZE_MAX;
  EXPECT_EQ(say("watch list"), "no watchpoints\n");
  EXPECT_EQ(say("watch phys 0x1000 16 rw"), "watchpoint 1: physical 0x1000-0x100f rw\n");
  EXPECT_EQ(say("watch virt 0x2000"), "watchpoint 2: 0x2000 w\n");
  EXPECT_EQ(say("watch virt 0x2000 r"), "watchpoint 3: 0x2000 r\n");
  session_.watches().count({.watchpoint = 1});

  EXPECT_EQ(say("watch delete 1"), "watchpoint 1 deleted\n");
  EXPECT_EQ(say("watch list"), "2: 0x2000 w, hit 1 time\n3: 0x2000 r, hit 0 times\n");
  EXPECT_EQ(say("watch delete 1"),
            "error: watch delete wants the number of a watchpoint, or all\n`watch list` shows them.\n");
  EXPECT_EQ(say("watch delete all"), "all watchpoints deleted\n");
  EXPECT_TRUE(session_.vcpu().watchpoints.empty());
}

TEST_F(MonitorTest, WatchMistakesAreExplained) {
  session_.vcpu().can.max_watchpoints = SIZE_MAX;
  for (const char* wrong : {"watch phys", "watch phys zero", "watch phys 1 2 x", "watch phys 1 rw 2", "watch phys 1 2 r w",
                            "watch phys 1 2 3", "watch 1", "watch list all", "watch delete 4294967297"}) {
    EXPECT_THAT(say(wrong), StartsWith("error: watch")) << wrong;
  }
  EXPECT_TRUE(session_.vcpu().watchpoints.empty());
}

TEST_F(MonitorTest, AnEngineWithoutWatchpointsSaysSo) {
  EXPECT_THAT(say("watch phys 0x1000"), StartsWith("error: "));
  EXPECT_EQ(say("watch list"), "no watchpoints\n");
}

TEST_F(MonitorTest, ADeleteOfAHugeNumberDeletesNothing) {
  say("mmio break edu");

  EXPECT_THAT(say("mmio delete 4294967297"), StartsWith("error: "));  // 2^32 + 1
  EXPECT_EQ(session_.breaks().list().size(), 1u);
}

TEST_F(MonitorTest, BadConditionsAreRefusedByNameAndSetNothing) {
  EXPECT_EQ(say("mmio break"), "error: mmio break wants a place\nFor example: mmio break edu+0x80 w value 0x1.\n");
  EXPECT_THAT(say("mmio break e1000"), StartsWith("error: there is no device 'e1000'\nDevices here: edu, rtc, serial0."));
  EXPECT_EQ(say("mmio break edu x"),
            "error: mmio break: unknown word 'x'\nAfter the place: r, w, size N, value V[/MASK], count N.\n");
  EXPECT_EQ(say("mmio break edu size"), "error: mmio break: 'size' wants a number\n");
  EXPECT_THAT(say("mmio break edu size 9"), StartsWith("error: mmio break: size 9 is not possible\n"));
  EXPECT_THAT(say("mmio break edu count 0"), StartsWith("error: mmio break: count 0 is not possible\n"));
  EXPECT_THAT(say("mmio break edu value x"), StartsWith("error: 'x' is not a value\n"));
  EXPECT_TRUE(session_.breaks().list().empty());
}

TEST_F(MonitorTest, LastIsTheLineOfTheLastAccess) {
  EXPECT_EQ(say("mmio last"), "no such access so far\n");
  session_.seen.note({{vm::Space::mmio, vm::Direction::write, 4, 0xfebc0080, 1}, 123, 0x1234});
  session_.seen.note({{vm::Space::pio, vm::Direction::read, 1, 0x3fd, 0x60}, 124, 0x1240});

  EXPECT_EQ(say("mmio last"), "pio: serial0+0x5 -> 0x60 (1 byte) at 0x3fd, rip 0x1240, event 124\n");
  EXPECT_EQ(say("mmio last edu"), "mmio: edu+0x80 <- 0x1 (4 bytes) at 0xfebc0080, rip 0x1234, event 123\n");
  EXPECT_EQ(say("mmio last rtc"), "no such access so far\n");
  EXPECT_THAT(say("mmio last nowhere"), StartsWith("error: there is no device 'nowhere'"));
}

TEST_F(MonitorTest, UnknownWordsAreAnswered) {
  EXPECT_EQ(say("frobnicate now"), "error: unknown command 'frobnicate'\n`help` lists the commands.\n");
  EXPECT_THAT(say("mmio"), StartsWith("error: mmio: unknown word ''\n"));
  EXPECT_THAT(say("mmio stop"), StartsWith("error: mmio: unknown word 'stop'\n"));
  EXPECT_EQ(say("help"), Monitor::help());
  EXPECT_EQ(say(""), Monitor::help());
}

TEST_F(MonitorTest, HelpKnowsEveryWord) {
  for (const std::string& word : Monitor::words()) {
    EXPECT_THAT(Monitor::help() + "help ", HasSubstr(word + " "));
  }
}

TEST_F(MonitorTest, DevicesAndWhere) {
  session_.event = 41;

  EXPECT_EQ(say("devices"),
            "edu              mmio 0xfebc0000-0xfecbffff\nserial0          port 0x3f8-0x3ff\n"
            "rtc              port 0x72-0x73 (offset 0x2)\n");
  EXPECT_THAT(say("where"), StartsWith("after event 41\nrax 0000000000000000"));
}

TEST_F(MonitorTest, DmaNeedsATrace) {
  EXPECT_THAT(say("dma 0x1000"), StartsWith("error: dma looks into a trace\n"));
  EXPECT_THAT(say("dma"), StartsWith("error: dma wants an address"));
}

TEST_F(MonitorTest, DmaTellsWhichDeviceWriteLedToTheBytes) {
  TempFolder folder;
  vm::GuestMemory memory = vm::GuestMemory::create(vm::kRamSize, 0).value();
  trace::Description d;
  d.ram_size = vm::kRamSize;
  d.memory = {{{0}, vm::kRamSize, 0, true}};
  auto writer = trace::Writer::create(folder.file("t.dvt"), d, memory).value();
  ASSERT_TRUE(writer->append({trace::AccessEvent{{vm::Space::mmio, vm::Direction::write, 4, 0xfebc0098, 1}, false, {}}}));
  ASSERT_TRUE(writer->append({trace::MemoryWriteEvent{0x2000, Bytes(16, 1), {}}}));
  ASSERT_TRUE(writer->append({trace::MemoryWriteEvent{0x2008, Bytes(16, 2), {}}}));
  ASSERT_TRUE(writer->finish({.events = writer->events()}));
  auto reader = trace::Reader::open(folder.file("t.dvt")).value();
  Monitor monitor(session_, {}, reader.get());
  session_.event = 1;

  EXPECT_EQ(monitor.execute("dma 0x2009"),
            "event 1: dma 16 bytes at 0x2000 (boundary), byte 9 of it here\n"
            "  last device write before it: event 0 mmio edu+0x98 <- 0x1 (4 bytes)\n");
  session_.event = 2;
  EXPECT_THAT(monitor.execute("dma 0x2009 1"),
              StartsWith("event 2: dma 16 bytes at 0x2008 (boundary), byte 1 of it here\n"));
  EXPECT_EQ(monitor.execute("dma 0x3000"), "no device wrote 0x3000 so far\n");
  EXPECT_EQ(monitor.execute("dma 0xfebc0000"), "error: 0xfebc0000 is not memory of the guest now\n");
}

}  // namespace
}  // namespace dejavm::cli
