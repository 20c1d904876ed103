// The real gdb on a replay: the same words as live, with the recording to look into.
#include <gmock/gmock.h>

#include "support/gdb.h"

namespace dejavm::integration {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class GdbReplayTest : public GdbTest {
 protected:
  void SetUp() override {
    GdbTest::SetUp();
    if (IsSkipped()) return;
    trace_ = recorded("buggy_dma");
    serve_replay(trace_);
  }

  std::string trace_;
};

TEST_F(GdbReplayTest, AwatchStopsOnADeviceWriteByVirtualAddress) {
  std::string output =
      gdb("buggy_dma", {"awatch *(int*)0xffffc90000000090", "continue", "continue", "p bytes", "delete", "continue"});

  EXPECT_THAT(output,
              ContainsRegex("\nmmio: edu\\+0x90 <- 0x300 \\(4 bytes\\) at 0xfeb00090, rip 0x100[0-9a-f]+, event [0-9]+\n"));
  EXPECT_THAT(output, HasSubstr("Old value = 768\nNew value = 23"));
  EXPECT_THAT(output, HasSubstr("$1 = 23"));
  EXPECT_THAT(output, HasSubstr("dejavm: the guest exited with status 3"));
}

TEST_F(GdbReplayTest, RwatchStopsOnReadsOnly) {
  std::string output = gdb("buggy_dma", {"rwatch *(int*)0xffffc90000000004", "continue", "monitor where", "kill"});

  EXPECT_THAT(output, HasSubstr("mmio: edu+0x4 -> 0xfffffffa (4 bytes) at 0xfeb00004"));
  EXPECT_THAT(output, Not(HasSubstr("edu+0x4 <-")));
}

TEST_F(GdbReplayTest, MmioBreakStopsByPhysicalAddressAndByDevice) {
  std::string output =
      gdb("buggy_dma", {"monitor mmio break 0xfeb00098 w", "continue", "monitor mmio delete 1", "monitor mmio break edu r",
                        "break self_test", "continue", "delete", "continue", "kill"});

  EXPECT_THAT(output, HasSubstr("mmio: edu+0x98 <- 0x5 (4 bytes) at 0xfeb00098"));
  EXPECT_THAT(output, HasSubstr("mmio: edu+0x24 -> 0x100 (4 bytes) at 0xfeb00024"));
}

TEST_F(GdbReplayTest, FromTheSymptomToTheGuiltyWrite) {
  // Session 1: the symptom, what it looks like, and which device wrote that memory.
  std::string symptom =
      gdb("buggy_dma", {"break panic", "continue", "bt", "p/x completion_queue.magic", "p &completion_queue.magic",
                        "eval \"monitor dma %#lx\", (unsigned long)&completion_queue.magic", "detach"});

  EXPECT_THAT(symptom, HasSubstr("Breakpoint 1, panic (what="));
  EXPECT_THAT(symptom, HasSubstr("in completion_reap ()"));
  EXPECT_THAT(symptom, HasSubstr("$1 = 0x75736b6365686320"));
  EXPECT_THAT(symptom, ContainsRegex("event [0-9]+: dma 80 bytes at 0x[0-9a-f]+ .*, byte 64 of it here"));
  EXPECT_THAT(symptom, ContainsRegex("last device write before it: event [0-9]+: [0-9]+ mmio edu\\+0x98 <- 0x7|"
                                     "last device write before it: event [0-9]+ mmio edu\\+0x98 <- 0x7"));
  EXPECT_EQ(finish().status, kDone);

  // Session 2: the write that asked for 80 bytes.
  serve_replay(trace_);
  std::string guilty =
      gdb("buggy_dma", {"monitor mmio break edu+0x90 w value 0x50", "continue", "bt", "p sizeof(rx_buffer)", "kill"});

  EXPECT_THAT(guilty,
              ContainsRegex("\nmmio: edu\\+0x90 <- 0x50 \\(4 bytes\\) at 0xfeb00090, rip 0x[0-9a-f]+, event [0-9]+\n"));
  EXPECT_THAT(guilty, ContainsRegex("bytes=80[^\n]*\n#1 [^\n]* in mailbox_receive \\(slot=(slot@entry=)?3,"));
  EXPECT_THAT(guilty, HasSubstr("$1 = 64"));
}

TEST_F(GdbReplayTest, ADeviceReadAnswersWithTheLastAccess) {
  std::string output = gdb("buggy_dma", {"monitor mmio break edu+0x8 r", "continue", "x/wx 0xffffc90000000004",
                                         "maintenance packet Qqemu.PhyMemMode:1", "x/wx 0xfeb00004",
                                         "maintenance packet Qqemu.PhyMemMode:0", "kill"});

  EXPECT_THAT(output, HasSubstr("mmio: edu+0x8 -> 0x78 (4 bytes)"));
  EXPECT_THAT(output, HasSubstr("0xffffc90000000004:\t0xfffffffa"));
  EXPECT_THAT(output, HasSubstr("0xfeb00004:\t0xfffffffa"));
}

TEST_F(GdbReplayTest, BreakpointsStepsAndTheEnd) {
  std::string output = gdb("buggy_dma", {"break self_test if n == 7", "continue", "p n", "stepi", "stepi", "p $rip",
                                         "delete", "continue", "p n", "detach"});
  Finished end = finish();

  EXPECT_THAT(output, HasSubstr("$1 = 7"));
  EXPECT_THAT(output, HasSubstr("<self_test+"));
  EXPECT_THAT(output, HasSubstr("No more reverse-execution history."));
  EXPECT_EQ(end.status, kDone) << end.err;
  EXPECT_THAT(end.err, HasSubstr(" 0 divergences, "));
}

TEST_F(GdbReplayTest, SteppingThroughAnInterruptStaysOnTheRecording) {
  Words commands = {"break timer_interrupt", "continue", "delete"};
  for (int i = 0; i < 40; ++i) commands.push_back("stepi");
  commands = commands + Words{"info registers rip", "continue", "detach"};

  std::string output = gdb("buggy_dma", commands);
  Finished end = finish();

  EXPECT_THAT(output, HasSubstr("Breakpoint 1, "));
  EXPECT_EQ(end.status, kDone) << end.err;
  EXPECT_THAT(end.err, HasSubstr(" 0 divergences, "));
}

TEST_F(GdbReplayTest, DetachInTheMiddleReplaysTheRest) {
  gdb("buggy_dma", {"break mailbox_receive", "monitor mmio break edu+0x98", "continue", "detach"});
  Finished end = finish();

  EXPECT_EQ(end.status, kDone) << end.err;
  EXPECT_THAT(end.err, HasSubstr(" 0 divergences, "));
}

TEST_F(GdbReplayTest, MonitorMistakesAreExplained) {
  std::string output = gdb("buggy_dma", {"monitor mmio break", "monitor mmio break nosuch+0x4", "monitor frobnicate",
                                         "monitor mmio break edu size 9", "monitor help", "kill"});

  EXPECT_THAT(output, HasSubstr("mmio break wants a place"));
  EXPECT_THAT(output, HasSubstr("nosuch"));
  EXPECT_THAT(output, HasSubstr("unknown command 'frobnicate'"));
  EXPECT_THAT(output, HasSubstr("size 9 is not possible"));
  EXPECT_THAT(output, HasSubstr("mmio break PLACE [r|w]"));
}

}  // namespace
}  // namespace dejavm::integration
