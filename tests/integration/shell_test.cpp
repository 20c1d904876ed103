// `dejavm shell -x`: a script that browses a trace and drives its replay.
#include <gmock/gmock.h>

#include <csignal>

#include "support/dejavm.h"
#include "support/trace_edit.h"

namespace dejavm::integration {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class ShellTest : public GuestTest {
 protected:
  void SetUp() override {
    GuestTest::SetUp();
    if (!IsSkipped()) trace_ = recorded("buggy_dma");
  }

  Finished shell(const std::string& script) const {
    write_file("script", script);
    return run(dejavm({"shell", trace_, "-x", path("script")}));
  }

  /// A recording whose replay takes long enough to be interrupted.
  std::string recorded_flood() const {
    return recorded("serial_flood", {"-serial", "null", "--max-seconds", accel() == "soft" ? "1" : "4"});
  }

  std::string trace_;
};

TEST_F(ShellTest, ListsEventsWithFilters) {
  Finished finished = shell("events 3\nevents 100 --device edu+0x90 --write\ninfo\n");

  EXPECT_EQ(finished.status, kDone) << finished.err;
  EXPECT_THAT(finished.out, HasSubstr("(dejavm) events 3\n"));
  EXPECT_THAT(finished.out, HasSubstr("mmio edu+0x90 <- 0x50 (4 bytes)"));
  EXPECT_THAT(finished.out, HasSubstr("end: the guest exited with status 3"));
}

TEST_F(ShellTest, StopsOnADeviceWriteAndLooksAround) {
  Finished finished = shell(
      "# comments and empty lines are skipped\n\n"
      "mmio break edu+0x90 w value 0x50\nmmio list\nrun\nwhere\ndisas\nmmio last edu\nstep 3\nrun\n");

  EXPECT_EQ(finished.status, kDone) << finished.out;
  EXPECT_THAT(finished.out,
              ContainsRegex("mmio: edu\\+0x90 <- 0x50 \\(4 bytes\\) at 0xfeb00090, rip 0x[0-9a-f]+, event [0-9]+\n"));
  EXPECT_THAT(finished.out, HasSubstr("end of the recording after "));
}

TEST_F(ShellTest, GoesToPositionsForwardAndBack) {
  Finished finished = shell("goto 200\ngoto 50\ngoto 50+3\ngoto end\n");

  EXPECT_EQ(finished.status, kDone) << finished.out;
  EXPECT_THAT(finished.out, HasSubstr("after event 200, rip "));
  EXPECT_THAT(finished.out, HasSubstr("after event 50, rip "));
  EXPECT_THAT(finished.out, HasSubstr("end of the recording after "));
}

TEST_F(ShellTest, GoesBackwardOnSoft) {
  if (accel() != "soft") GTEST_SKIP() << accel() << " only goes forward";
  Finished finished =
      shell("goto 300\nwhen\nback 5\nstep 5\nwhen\nmmio break edu w\nback run\nback run\nmmio delete all\nback run\n");

  EXPECT_EQ(finished.status, kDone) << finished.out;
  EXPECT_THAT(finished.out, ContainsRegex("when\n(at 300\\+0, instruction [0-9]+\n)(.*\n)*\\(dejavm\\) when\nat 300\\+0,"));
  EXPECT_THAT(finished.out, ContainsRegex("back run\nmmio: edu\\+0x98 <- 0x7 [^\n]*\n  edu.DMA_COMMAND <- 0x7 [^\n]*\nafter "
                                          "event [0-9]+, rip 0x[0-9a-f]+: mov \\[rax\\], ecx\n"));
  EXPECT_THAT(finished.out, HasSubstr("the beginning of the replay\nafter event -1, "));
}

TEST_F(ShellTest, TheSamePositionIsTheSameStateEveryTime) {
  Finished finished = shell("goto 300\nwhere\ngoto 10\ngoto 300\nwhere\n");

  ASSERT_EQ(finished.status, kDone) << finished.out;
  const std::string marker = "(dejavm) where\n";
  size_t first = finished.out.find(marker), second = finished.out.rfind(marker);
  ASSERT_LT(first, second);
  std::string state = finished.out.substr(first, finished.out.find("(dejavm)", first + 1) - first);
  EXPECT_EQ(state, finished.out.substr(second));
}

/// Where buggy_dma's completion_queue is.
std::string queue_address() {
  std::string queue =
      run({"sh", "-c", "nm \"$1\" | sed -n 's/ [bBdD] completion_queue$//p'", "sh", guest_symbols("buggy_dma")}).out;
  queue.erase(queue.find_last_not_of("\n") + 1);
  queue.erase(0, queue.find_first_not_of('0'));
  return "0x" + queue;
}

TEST_F(ShellTest, WatchpointsOnMemoryStayWhenTheReplayStartsAgain) {
  if (accel() != "soft") GTEST_SKIP() << accel() << " has no watchpoints";
  std::string queue = queue_address();
  ASSERT_GT(queue.size(), 4u);

  Finished finished = shell("goto 100\nwatch virt " + queue + " 8 w\ngoto 10\nrun\nrun\nrun\nrun\n");

  EXPECT_EQ(finished.status, kDone) << finished.out;
  EXPECT_THAT(finished.out, HasSubstr("watchpoint 1: " + queue));
  EXPECT_THAT(finished.out, HasSubstr("watch: " + queue + " written, rip 0x10"));
  EXPECT_THAT(finished.out, HasSubstr("watch: " + queue + " written by a device, after event "));
}

TEST_F(ShellTest, ShowsMemoryAndTheDmaThatWroteIt) {
  // .dma holds the image of six messages (768 bytes), rx_buffer and completion_queue, one after the other.
  std::string queue = queue_address();
  ASSERT_GT(queue.size(), 4u);

  Finished finished = shell("goto end\nmem " + queue + " 16\ndma " + queue + "\n");

  EXPECT_EQ(finished.status, kDone) << finished.out;
  EXPECT_THAT(finished.out, HasSubstr(" checksu"));
  EXPECT_THAT(finished.out, HasSubstr("dma 80 bytes"));
  EXPECT_THAT(finished.out, HasSubstr("mmio edu+0x98 <- 0x7"));
}

TEST_F(ShellTest, AFailingCommandIsTheExitStatus) {
  for (const char* command :
       {"frobnicate", "goto nowhere", "mem 0x10000000000", "mmio break nosuch", "events --nope", "step 0"}) {
    Finished finished = shell(std::string(command) + "\nwhere\n");
    EXPECT_EQ(finished.status, kFailed) << command;
    EXPECT_THAT(finished.out, HasSubstr("error: ")) << command;
    EXPECT_THAT(finished.out, HasSubstr("after event ")) << "the script goes on after " << command;
  }
}

TEST_F(ShellTest, ReadsCommandsFromAPipe) {
  Finished finished = run(dejavm({"shell", trace_}), "events 1\nquit\nnot reached\n");

  EXPECT_EQ(finished.status, kDone) << finished.out;
}

TEST_F(ShellTest, ReplaysInTheSandboxForwardAndBack) {
  Process process(dejavm({"shell", trace_}));
  process.write_input("events 1\n");
  ASSERT_TRUE(process.wait_for_text("(dejavm) events 1\n"));
  EXPECT_EQ(process.status_line("Seccomp"), "0");
  process.write_input("goto 100\n");
  ASSERT_TRUE(process.wait_for_text("after event 100, rip "));
  EXPECT_EQ(process.status_line("Seccomp"), "2");
  process.write_input("goto 50\nmmio break edu\nrun\nopen " + trace_ + "\n");
  Finished finished = process.wait();

  EXPECT_EQ(finished.status, kFailed) << finished.out;
  EXPECT_THAT(finished.out, HasSubstr("after event 50, rip "));
  EXPECT_THAT(finished.out, HasSubstr("mmio: edu"));
  EXPECT_THAT(finished.out, HasSubstr("error: a replay began: this shell runs in a sandbox and opens no more files"));
}

TEST_F(ShellTest, OpensTracesUntilItReplays) {
  recorded("edu_irq_dma_short");
  write_file("script", "open " + trace_of("edu_irq_dma_short") + "\nopen " + trace_ + "\nrun\n");

  Finished finished = run(dejavm({"shell", "-x", path("script")}));

  EXPECT_EQ(finished.status, kDone) << finished.out;
  EXPECT_THAT(finished.out, HasSubstr("end of the recording after "));
}

TEST_F(ShellTest, CtrlCStopsARunAndGivesThePromptBack) {
  std::string flood = recorded_flood();
  Process process(dejavm({"shell", flood}));
  process.write_input("run\n");
  ASSERT_TRUE(process.wait_for_text("(dejavm) run\n"));
  process.signal(SIGINT);
  ASSERT_TRUE(process.wait_for_text("interrupted\nafter event ")) << process.out();
  process.write_input("step 2\nquit\n");
  Finished finished = process.wait();

  EXPECT_EQ(finished.status, kDone) << finished.out;
  EXPECT_THAT(finished.out, ContainsRegex("\\(dejavm\\) step 2\nafter event -?[0-9]+, rip "));
  EXPECT_THAT(finished.out, Not(HasSubstr("end of the recording")));
}

TEST_F(ShellTest, CtrlCEndsAScript) {
  std::string flood = recorded_flood();
  write_file("script", "step 1000000000\nwhere\n");
  Process process(dejavm({"shell", flood, "-x", path("script")}));
  ASSERT_TRUE(process.wait_for_text("(dejavm) step 1000000000\n"));
  process.signal(SIGINT);
  Finished finished = process.wait();

  EXPECT_EQ(finished.status, kFailed) << finished.out;
  EXPECT_THAT(finished.out, HasSubstr("interrupted\n"));
  EXPECT_THAT(finished.out, Not(HasSubstr("(dejavm) where")));
}

TEST_F(ShellTest, ADivergenceIsTheExitStatusOfAScript) {
  Events events = read_events(trace_);
  auto write = find_access(events, vm::Direction::write, 0xfeb00090);
  ASSERT_TRUE(write);
  std::get<trace::AccessEvent>(events[*write].body).access.value ^= 1;
  rewrite_trace(trace_, path("altered.dvt"), events);
  write_file("script", "run\nwhere\nfrobnicate\n");

  Finished finished = run(dejavm({"shell", path("altered.dvt"), "-x", path("script")}));

  EXPECT_EQ(finished.status, kDiverged) << finished.out;
  EXPECT_THAT(finished.out, HasSubstr("(dejavm) frobnicate"));
}

TEST_F(ShellTest, ADamagedTraceIsTheExitStatusOfAScript) {
  std::string bytes = read_text("buggy_dma.dvt");
  write_file("cut.dvt", bytes.substr(0, bytes.size() * 8 / 10));
  write_file("foreign.dvt", "something else");
  write_file("script", "events 1\n");

  EXPECT_EQ(run(dejavm({"shell", path("cut.dvt"), "-x", path("script")})).status, kDamaged);
  EXPECT_EQ(run(dejavm({"shell", path("foreign.dvt"), "-x", path("script")})).status, kDamaged);
}

TEST_F(ShellTest, ATerminalHasHistoryCompletionAndCtrlCInTheSandboxToo) {
  if (!have_program("script")) GTEST_SKIP() << "script (Debian package bsdutils) is absent";
  write_file(".dejavm_history", "goto 77\n");
  Process process({"env", "-u", "XDG_STATE_HOME", "HOME=" + path(""), "TERM=xterm", "script", "-qec",
                   "exec " + std::string(DEJAVM_BINARY) + " shell " + trace_, "/dev/null"});
  ASSERT_TRUE(process.wait_for_text("(dejavm) "));
  process.write_input("\x1b[A\n");  // up: the line of an earlier shell
  // What is typed while no line is read goes another way.
  ASSERT_TRUE(process.wait_for_text("(dejavm) ", "after event 77, rip ")) << process.out();
  process.write_input("half a line");
  ASSERT_TRUE(process.wait_for_text("half a line")) << process.out();
  process.write_input("\x03");
  ASSERT_TRUE(process.wait_for_text("(dejavm) ", "^C")) << process.out();
  process.write_input("mmio break ed\t\n");
  ASSERT_TRUE(process.wait_for_text("mmio breakpoint 1: edu\r\n")) << process.out();
  process.write_input("quit\n");
  Finished finished = process.wait();

  EXPECT_EQ(finished.status, kDone) << finished.out;
  EXPECT_EQ(read_text(".dejavm_history"), "goto 77\ngoto 77\nmmio break edu \nquit\n");
}

TEST_F(ShellTest, MissingFilesAreErrors) {
  EXPECT_EQ(run(dejavm({"shell", path("absent.dvt"), "-x", "/dev/null"})).status, kFailed);
  EXPECT_EQ(run(dejavm({"shell", trace_, "-x", path("absent")})).status, kFailed);
}

}  // namespace
}  // namespace dejavm::integration
