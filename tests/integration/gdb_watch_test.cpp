// The real gdb's watchpoints on RAM, where the engine has them, live and in a replay.
#include <gmock/gmock.h>

#include <algorithm>

#include "support/gdb.h"

namespace dejavm::integration {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

class GdbWatchReplayTest : public GdbTest {
 protected:
  void SetUp() override {
    GdbTest::SetUp();
    if (!IsSkipped() && accel() != "soft") GTEST_SKIP() << accel() << " has no watchpoints";
  }
  std::string replay_session(const Words& commands) {
    serve_replay(recorded("buggy_dma"));
    return gdb("buggy_dma", commands);
  }
};

/// Parameter: on a running guest, or on a replay of it.
class GdbWatchTest : public GdbWatchReplayTest, public testing::WithParamInterface<bool> {
 protected:
  std::string session(const Words& commands) {
    if (!GetParam()) return replay_session(commands);
    serve_live("buggy_dma");
    return gdb("buggy_dma", commands);
  }
};
INSTANTIATE_TEST_SUITE_P(Soft, GdbWatchTest, testing::Bool(),
                         [](const auto& live) { return live.param ? "Live" : "Replay"; });

TEST_P(GdbWatchTest, WatchStopsAtEachWrite) {
  std::string output = session({"break main", "continue", "watch completion_queue.tail", "continue", "bt 1", "continue",
                                "p completion_queue.tail", "kill"});

  EXPECT_THAT(output, HasSubstr("Hardware watchpoint 2: completion_queue.tail"));
  EXPECT_THAT(output, HasSubstr("Old value = 0\nNew value = 1\n"));
  EXPECT_THAT(output, ContainsRegex("#0 +(0x[0-9a-f]+ in )?completion_post"));
  EXPECT_THAT(output, HasSubstr("Old value = 1\nNew value = 2\n"));
  EXPECT_THAT(output, HasSubstr("$1 = 2"));
}

TEST_P(GdbWatchTest, RwatchStopsAtReadsOnly) {
  std::string output =
      session({"break self_test", "continue", "delete", "rwatch completion_queue.magic", "continue", "kill"});

  EXPECT_THAT(output, HasSubstr("Hardware read watchpoint 2: completion_queue.magic\n\nValue = 8463226199406568224\n"));
  EXPECT_THAT(output, ContainsRegex("completion_reap \\(\\)"));
}

TEST_P(GdbWatchTest, AwatchStopsAtBoth) {
  std::string output = session(
      {"break completion_post", "continue", "delete", "awatch completion_queue.tail", "continue", "continue", "kill"});

  EXPECT_THAT(output, HasSubstr("Hardware access (read/write) watchpoint 2: completion_queue.tail\n\nValue = 0\n"));
  EXPECT_THAT(output, HasSubstr("Old value = 0\nNew value = 1\n"));
}

TEST_P(GdbWatchTest, MoreThanProcessorsHaveAndLongerOnes) {
  std::string output =
      session({"break main", "continue", "delete", "watch completion_queue.magic", "watch completion_queue.head",
               "watch completion_queue.tail", "watch completion_queue.generation", "watch mailbox_image",
               "watch completion_queue.entries", "continue", "delete 2", "continue", "delete 6", "continue", "kill"});

  EXPECT_THAT(output, HasSubstr("\nHardware watchpoint 2: completion_queue.magic\n\nOld value = 0\n"));
  EXPECT_THAT(output, HasSubstr("\nHardware watchpoint 6: mailbox_image\n\nOld value = "));
  EXPECT_THAT(output, HasSubstr("\nHardware watchpoint 7: completion_queue.entries\n\nOld value = "));
  EXPECT_THAT(output, Not(HasSubstr("Could not insert")));
}

TEST_P(GdbWatchTest, ADevicesWriteStops) {
  std::string output = session({"break mailbox_fill", "continue", "delete", "watch completion_queue.magic", "continue",
                                "p/x completion_queue.magic", "monitor mmio last", "kill"});

  EXPECT_THAT(output, HasSubstr("Old value = 6144411074277952835\nNew value = 8463226199406568224\n"));
  EXPECT_THAT(output, HasSubstr("$1 = 0x75736b6365686320"));
}

TEST_P(GdbWatchTest, AStepOverAWriteTellsOfIt) {
  std::string output = session({"break completion_post", "continue", "delete", "watch completion_queue.tail", "next", "next",
                                "next", "next", "kill"});

  EXPECT_THAT(output, HasSubstr("Hardware watchpoint 2: completion_queue.tail\n\nOld value = 0\nNew value = 1\n"));
}

TEST_P(GdbWatchTest, MonitorWatchesPhysicalMemory) {
  std::string output = session(
      {"break main", "continue", "delete", "eval \"monitor watch phys %#lx 4\", (unsigned long)&completion_queue.tail",
       "monitor watch list", "continue", "p completion_queue.tail", "continue", "p completion_queue.tail",
       "monitor watch list", "monitor watch delete 1", "monitor watch list", "kill"});

  EXPECT_THAT(output, ContainsRegex("watchpoint 1: physical 0x101[0-9a-f]+-0x101[0-9a-f]+ w\n"));
  EXPECT_THAT(output, ContainsRegex("\nwatch: physical 0x101[0-9a-f]+ written, rip 0x100[0-9a-f]+, after event [0-9]+\n"));
  EXPECT_THAT(output, HasSubstr("$1 = 1"));
  EXPECT_THAT(output, HasSubstr("$2 = 2"));
  EXPECT_THAT(output, HasSubstr("hit 2 times"));
  EXPECT_THAT(output, HasSubstr("watchpoint 1 deleted\nno watchpoints\n"));
}

TEST_P(GdbWatchTest, InPhysicalMemoryModeWatchesArePhysical) {
  std::string output =
      session({"break main", "continue", "delete", "maintenance packet Qqemu.PhyMemMode:1",
               "watch *(int*)((long)&completion_queue.tail)", "continue", "info symbol $rip", "continue", "kill"});

  EXPECT_THAT(output, HasSubstr("Old value = 0\nNew value = 1\n"));
  EXPECT_THAT(output, HasSubstr("completion_post + "));
  EXPECT_THAT(output, HasSubstr("Old value = 1\nNew value = 2\n"));
}

TEST_F(GdbWatchReplayTest, TheReplayStaysOnItsRecording) {
  replay_session({"watch timer_ticks", "watch dma_completions", "awatch completion_queue.tail", "continue", "continue",
                  "continue", "continue", "continue", "continue", "delete", "continue", "detach"});
  Finished end = finish();

  EXPECT_EQ(end.status, kDone) << end.err;
  EXPECT_THAT(end.err, HasSubstr(" 0 divergences, "));
}

/// Each tick is a stop, and nothing else is, though all that the guest does beside it runs at full speed.
TEST_F(GdbWatchReplayTest, NoWriteIsMissedAndNoneIsInvented) {
  Words commands = {"watch timer_ticks"};
  for (int i = 0; i < 120; ++i) commands.push_back("continue");

  std::string output = replay_session(commands + Words{"p timer_ticks", "detach"});

  size_t stops = count(output, "Old value = ");
  EXPECT_GE(stops, 40u) << output;
  EXPECT_THAT(output, HasSubstr("$1 = " + std::to_string(stops) + "\n"));
}

}  // namespace
}  // namespace dejavm::integration
