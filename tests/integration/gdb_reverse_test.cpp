// The real gdb goes backward in a replay on soft.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "support/gdb.h"

namespace dejavm::integration {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class SoftGdbReverseTest : public GdbTest {
 protected:
  void SetUp() override {
    GdbTest::SetUp();
    if (IsSkipped()) return;
    trace_ = recorded("buggy_dma", {"-accel", "soft"});
    serve_replay(trace_);
  }
  std::string debug(const Words& commands) const { return gdb("buggy_dma", commands); }
  /// The server ends by itself after a detach: the rest of the trace replays without a divergence.
  void expect_faithful_end() {
    Finished end = finish();
    EXPECT_EQ(end.status, kDone) << end.err;
    EXPECT_THAT(end.err, HasSubstr(" 0 divergences, "));
  }

  std::string trace_;
};

TEST_F(SoftGdbReverseTest, FromTheSymptomToTheDeviceThatWroteThere) {
  std::string output = debug({"break panic", "continue", "watch completion_queue.magic", "reverse-continue", "bt",
                              "monitor where", "p completion_queue.magic", "detach"});

  EXPECT_THAT(output, HasSubstr("Old value = 8463226199406568224\nNew value = 6144411074277952835"));
  EXPECT_THAT(output, ContainsRegex("in edu_dma \\(|wait_for_interrupt \\(\\)"));
  EXPECT_THAT(output, ContainsRegex("in mailbox_receive \\(slot=(slot@entry=)?3,"));
  EXPECT_THAT(output, HasSubstr("$1 = 6144411074277952835"));
  expect_faithful_end();
}

TEST_F(SoftGdbReverseTest, WatchBackwardFindsTheStoreAndThenTheBeginning) {
  std::string output = debug({"break mailbox_fill", "continue", "delete", "watch completion_queue.magic", "reverse-continue",
                              "x/i $pc", "reverse-continue", "reverse-stepi", "continue", "info line", "detach"});

  EXPECT_THAT(output, HasSubstr("Old value = 6144411074277952835\nNew value = 0"));
  EXPECT_THAT(output, ContainsRegex("=> 0x[0-9a-f]+ <main\\+[0-9]+>:\tmov +%rax,"));
  EXPECT_THAT(output, HasSubstr("No more reverse-execution history."));
  EXPECT_THAT(output, HasSubstr("Old value = 0\nNew value = 6144411074277952835")) << "and forward over it again";
  expect_faithful_end();
}

TEST_F(SoftGdbReverseTest, BreakpointsBackwardInTheirOrder) {
  std::string output = debug({"break self_test", "continue", "continue", "continue", "p n", "reverse-continue", "p n",
                              "reverse-continue", "p n", "reverse-continue", "continue", "p n", "detach"});

  EXPECT_THAT(output, HasSubstr("$1 = 7"));
  EXPECT_THAT(output, HasSubstr("$2 = 6"));
  EXPECT_THAT(output, HasSubstr("$3 = 5"));
  EXPECT_THAT(output, ContainsRegex("No more reverse-execution history[^$]*\\$4 = 5"));
  expect_faithful_end();
}

TEST_F(SoftGdbReverseTest, AConditionHoldsBackward) {
  std::string output = debug({"break panic", "continue", "break self_test if n == 6", "reverse-continue", "p n", "kill"});

  EXPECT_THAT(output, HasSubstr("Breakpoint 2, self_test (n="));
  EXPECT_THAT(output, HasSubstr("$1 = 6"));
}

TEST_F(SoftGdbReverseTest, LinesBackward) {
  std::string output = debug({"break self_test", "continue", "next", "next", "frame", "reverse-next", "frame",
                              "reverse-next", "frame", "next", "frame", "detach"});

  EXPECT_THAT(output, ContainsRegex("\n128\t[^#]*\n#0[^#]*\n128\t[^#]*\n127\t"));
  EXPECT_THAT(output, ContainsRegex("\n126\t[^#]*\n#0[^#]*\n126\t[^#]*\n127\t"));
  expect_faithful_end();
}

TEST_F(SoftGdbReverseTest, StepEntersAFunctionFromItsEnd) {
  std::string output =
      debug({"break completion_reap", "continue", "delete", "reverse-step", "reverse-step", "reverse-step", "bt", "detach"});

  EXPECT_THAT(output, ContainsRegex("sleep_ticks|timer_interrupt|self_test"));
  expect_faithful_end();
}

TEST_F(SoftGdbReverseTest, FinishBackwardIsTheCall) {
  std::string output =
      debug({"break completion_post", "continue", "delete", "reverse-finish", "x/i $pc", "stepi", "frame", "detach"});

  EXPECT_THAT(output, ContainsRegex("=> 0x[0-9a-f]+ <mailbox_receive\\+[0-9]+>:\tcall +0x[0-9a-f]+ <completion_post>"));
  EXPECT_THAT(output, ContainsRegex("#0  completion_post \\(|<completion_post>"));
  expect_faithful_end();
}

TEST_F(SoftGdbReverseTest, UntilAndAdvanceRunBackwardToo) {
  std::string output = debug({"break completion_reap", "continue", "delete", "set exec-direction reverse",
                              "advance self_test", "p n", "until mailbox_receive", "set exec-direction forward", "detach"});

  EXPECT_THAT(output, HasSubstr("self_test (n="));
  EXPECT_THAT(output, HasSubstr("$1 = 8"));
  expect_faithful_end();
}

TEST_F(SoftGdbReverseTest, MmioBreaksBackward) {
  std::string output =
      debug({"break panic", "continue", "delete", "monitor mmio break edu+0x90 w value 0x50", "reverse-continue", "bt",
             "x/i $pc", "continue", "reverse-continue", "reverse-continue", "detach"});

  // Backward it stops before the write, forward behind it, and backward over it again.
  EXPECT_THAT(output, ContainsRegex("in mailbox_receive \\(slot=(slot@entry=)?3,"));
  EXPECT_THAT(output, ContainsRegex("=> 0x[0-9a-f]+ <edu_dma\\+[0-9]+>:\tmov +%[a-z0-9]+,\\(%[a-z0-9]+\\)"));
  EXPECT_THAT(output, HasSubstr("No more reverse-execution history."));
  EXPECT_THAT(output, ContainsRegex("(mmio: edu\\+0x90 <- 0x50 \\(4 bytes\\) at 0xfeb00090, rip 0x[0-9a-f]+, event [0-9]+\n "
                                    " edu.DMA_COUNT <- 0x50\n){3}$"));
  expect_faithful_end();
}

TEST_F(SoftGdbReverseTest, MmioBreaksBackwardBesideABreakpoint) {
  std::string output = debug({"break panic", "continue", "break self_test", "monitor mmio break edu+0x4 w value 8",
                              "reverse-continue", "reverse-continue", "reverse-continue", "p n", "detach"});

  EXPECT_THAT(output, HasSubstr("mmio: edu+0x4 <- 0x8 (4 bytes) at 0xfeb00004"));
  EXPECT_THAT(output, ContainsRegex("SIGTRAP[^$]*Breakpoint 2, self_test \\(n=(n@entry=)?8\\)[^$]*"
                                    "Breakpoint 2, self_test \\(n=(n@entry=)?7\\)"));
  EXPECT_THAT(output, HasSubstr("$1 = 7"));
  expect_faithful_end();
}

TEST_F(SoftGdbReverseTest, AwatchOnADeviceBackward) {
  std::string output = debug({"break panic", "continue", "delete", "awatch *(int*)0xffffc90000000090", "reverse-continue",
                              "x/i $pc", "monitor where", "detach"});

  EXPECT_THAT(output, ContainsRegex("mmio: edu\\+0x90 <- 0x[0-9a-f]+ \\(4 bytes\\)"));
  EXPECT_THAT(output, HasSubstr("Hardware access (read/write) watchpoint 2"));
  EXPECT_THAT(output, ContainsRegex("<edu_dma\\+[0-9]+>:\tmov +%"));
  expect_faithful_end();
}

TEST_F(SoftGdbReverseTest, ADeviceReadAnswersAsOfThePosition) {
  std::string output =
      debug({"monitor mmio break edu+0x4 w", "continue", "continue", "x/wx 0xffffc90000000004", "reverse-continue",
             "reverse-continue", "monitor mmio last edu+0x4", "stepi", "x/wx 0xffffc90000000004", "detach"});

  EXPECT_THAT(output, HasSubstr("0xffffc90000000004:\t0x00000006"));
  EXPECT_THAT(output, HasSubstr("no such access so far"));
  EXPECT_THAT(output, HasSubstr("0xffffc90000000004:\t0x00000005"));
  expect_faithful_end();
}

TEST_F(SoftGdbReverseTest, TheEndIsTheEndAndTheWayBackIsOpen) {
  std::string output = debug({"continue", "p completion_queue.tail", "break completion_post", "reverse-continue",
                              "p completion_queue.tail", "delete", "continue", "p completion_queue.tail", "detach"});

  EXPECT_THAT(output, HasSubstr("dejavm: the guest exited with status 3"));
  EXPECT_THAT(output, ContainsRegex("\\$1 = 6(.*\n)*\\$2 = 5(.*\n)*\\$3 = 6"));
  expect_faithful_end();
}

/// The addresses behind the lines "pc ADDRESS".
std::vector<std::string> printed_pcs(const std::string& output) {
  std::vector<std::string> pcs;
  for (size_t at = output.find("\npc 0x"); at != std::string::npos; at = output.find("\npc 0x", at + 1)) {
    pcs.push_back(output.substr(at + 4, output.find('\n', at + 1) - at - 4));
  }
  return pcs;
}

/// What QEMU's functional test of reverse debugging does, on our traces: steps whose addresses are remembered, and back over
/// all of them; then, in the next test, a breakpoint on each, backward and forward.
TEST_F(SoftGdbReverseTest, StepsThereAndBackAgain) {
  Words commands = {"break mailbox_fill", "continue", "delete"};
  constexpr int kSteps = 30;
  for (int i = 0; i < kSteps; ++i) commands = commands + Words{"printf \"pc %#lx\\n\", $pc", "stepi"};
  for (int i = 0; i < kSteps; ++i) commands = commands + Words{"reverse-stepi", "printf \"pc %#lx\\n\", $pc"};
  Words lines = commands + Words{"detach"};

  std::string output = debug(lines);

  std::vector<std::string> pcs = printed_pcs(output);
  ASSERT_EQ(pcs.size(), 2u * kSteps);
  std::vector<std::string> back(pcs.rbegin(), pcs.rbegin() + kSteps);
  EXPECT_EQ(std::vector<std::string>(pcs.begin(), pcs.begin() + kSteps), back);
  EXPECT_THAT(output, Not(HasSubstr("No more reverse-execution history.")));
  expect_faithful_end();
}

TEST_F(SoftGdbReverseTest, ABreakpointOnEachStepBackwardAndForward) {
  constexpr int kSteps = 30, kMore = 10;
  Words commands = {"break mailbox_fill", "continue", "delete"};
  for (int i = 0; i < kSteps; ++i) {
    commands = commands + Words{fmt::format("set $p{} = $pc", i), "printf \"pc %#lx\\n\", $pc", "stepi"};
  }
  commands = commands + Words{"continue"};
  for (int i = 0; i < kSteps; ++i) commands = commands + Words{fmt::format("break *$p{}", i)};
  // From the end back to the last of them, on, and forward again to the end.
  for (int i = 0; i < kMore; ++i) commands = commands + Words{"reverse-continue", "printf \"pc %#lx\\n\", $pc"};
  for (int i = 0; i < kMore; ++i) commands = commands + Words{"continue", "printf \"pc %#lx\\n\", $pc"};

  std::string output = debug(commands + Words{"detach"});

  std::vector<std::string> pcs = printed_pcs(output);
  ASSERT_EQ(pcs.size(), static_cast<size_t>(kSteps + 2 * kMore));
  const std::vector<std::string> steps(pcs.begin(), pcs.begin() + kSteps);
  const std::vector<std::string> back(pcs.begin() + kSteps, pcs.begin() + kSteps + kMore);
  EXPECT_THAT(back, testing::Each(testing::AnyOfArray(steps)));
  // Forward from the tenth: the ninth, and on to the first, then the end.
  const std::vector<std::string> forward(pcs.begin() + kSteps + kMore, pcs.end() - 1);
  EXPECT_EQ(forward, std::vector<std::string>(back.rbegin() + 1, back.rend()));
  EXPECT_THAT(output, HasSubstr("No more reverse-execution history."));
  expect_faithful_end();
}

TEST_F(SoftGdbReverseTest, TheMonitorTravelsAndTellsWhere) {
  std::string output = debug({"monitor when", "monitor seek 297", "maintenance flush register-cache", "x/i $pc",
                              "monitor seek 17+5", "monitor seek @20000", "monitor info replay", "monitor checkpoint",
                              "monitor replay_break 20100", "continue", "monitor when", "monitor replay_seek 19000",
                              "monitor when", "monitor events 2", "monitor seek end", "monitor seek nowhere", "detach"});

  EXPECT_THAT(output, HasSubstr("at -1+0, instruction 0\n"));
  EXPECT_THAT(output, ContainsRegex("at 297\\+0, instruction [0-9]+, rip 0x[0-9a-f]+\ngdb still shows the place before"));
  EXPECT_THAT(output, ContainsRegex("=> 0x[0-9a-f]+ <edu_dma\\+[0-9]+>"));
  EXPECT_THAT(output, ContainsRegex("at 17\\+5, instruction [0-9]+, rip"));
  EXPECT_THAT(output, HasSubstr("Replaying execution: instruction count = 20000\n"));
  EXPECT_THAT(output, ContainsRegex("checkpoint at [0-9]+\\+[0-9]+, instruction 20000; [0-9]+ checkpoints, "));
  EXPECT_THAT(output, ContainsRegex("\nat [0-9]+\\+[0-9]+, instruction 20100\n"));
  EXPECT_THAT(output, ContainsRegex("\nat [0-9]+\\+[0-9]+, instruction 19000\n"));
  EXPECT_THAT(output, ContainsRegex(" +16 [^\n]*\n +17 [^\n]*\nhere\n +18 "));
  EXPECT_THAT(output, HasSubstr(": the end (the guest exited with status 3 (isa-debug-exit))"));
  EXPECT_THAT(output, HasSubstr("'nowhere' is not a position"));
  expect_faithful_end();
}

TEST_F(SoftGdbReverseTest, TheMonitorKnowsWhoWrote) {
  std::string output = debug({"break panic", "continue", "monitor when",
                              "eval \"monitor who-wrote %#lx 8\", (unsigned long)&completion_queue.magic",
                              "eval \"monitor who-wrote %#lx 4\", (unsigned long)&completion_queue.tail", "monitor when",
                              "monitor last-write edu+0x90", "monitor mmio next serial0", "monitor mmio next edu",
                              "monitor diff-state 296", "monitor who-wrote 0x800000", "monitor who-wrote", "detach"});

  EXPECT_THAT(output, ContainsRegex("written by a device, at 297\\+0, instruction [0-9]+:\n +298 dma 80 bytes at 0x"));
  EXPECT_THAT(output, ContainsRegex("written by the instruction at 0x[0-9a-f]+, at [0-9]+\\+[0-9]+, instruction [0-9]+\n"));
  EXPECT_THAT(output, ContainsRegex("at 913\\+34, instruction 34144\n(.*\n)*at 913\\+34, instruction 34144\n"));
  EXPECT_THAT(output, ContainsRegex("mmio: edu\\+0x90 <- 0x[0-9a-f]+ \\(4 bytes\\)"));
  EXPECT_THAT(output, ContainsRegex("pio: serial0\\+0x5 -> 0x60 \\(1 byte\\) at 0x3fd, rip 0x[0-9a-f]+, event 914\n"));
  EXPECT_THAT(output, HasSubstr("no such access from here on"));
  EXPECT_THAT(output,
              ContainsRegex("there 296\\+0\nregisters \\(here, there\\): rax expected .*\npages of RAM that differ: [1-9]"));
  EXPECT_THAT(output, HasSubstr("nobody wrote 0x800000 since the beginning of the replay"));
  EXPECT_THAT(output, HasSubstr("who-wrote wants a guest physical address"));
  expect_faithful_end();
}

TEST_F(SoftGdbReverseTest, ALiveGuestOnlyGoesForward) {
  debug({"kill"});
  finish();
  serve_live("buggy_dma", {"-accel", "soft"});

  std::string output = debug({"break main", "continue", "reverse-stepi", "monitor when", "kill"});

  EXPECT_THAT(output, HasSubstr("when is for a replay on the soft engine"));
  EXPECT_THAT(output, HasSubstr("does not support this command."));
}

}  // namespace
}  // namespace dejavm::integration
