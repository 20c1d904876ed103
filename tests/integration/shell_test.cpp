// `dejavm shell -x`: a script that browses a trace and drives its replay.
#include <gmock/gmock.h>

#include "support/dejavm.h"

namespace dejavm::integration {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

class ShellTest : public KvmTest {
 protected:
  void SetUp() override {
    KvmTest::SetUp();
    if (!IsSkipped()) trace_ = recorded("buggy_dma");
  }

  Finished shell(const std::string& script) const {
    write_file("script", script);
    return run(dejavm({"shell", trace_, "-x", path("script")}));
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

TEST_F(ShellTest, TheSamePositionIsTheSameStateEveryTime) {
  Finished finished = shell("goto 300\nwhere\ngoto 10\ngoto 300\nwhere\n");

  ASSERT_EQ(finished.status, kDone) << finished.out;
  const std::string marker = "(dejavm) where\n";
  size_t first = finished.out.find(marker), second = finished.out.rfind(marker);
  ASSERT_LT(first, second);
  std::string state = finished.out.substr(first, finished.out.find("(dejavm)", first + 1) - first);
  EXPECT_EQ(state, finished.out.substr(second));
}

TEST_F(ShellTest, ShowsMemoryAndTheDmaThatWroteIt) {
  // .dma holds the image of six messages (768 bytes), rx_buffer and completion_queue, one after the other.
  std::string queue =
      "0x" + run({"sh", "-c", "nm \"$1\" | sed -n 's/ [bBdD] completion_queue$//p'", "sh", guest_symbols("buggy_dma")}).out;
  queue.erase(queue.find_last_not_of("\n") + 1);
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

TEST_F(ShellTest, MissingFilesAreErrors) {
  EXPECT_EQ(run(dejavm({"shell", path("absent.dvt"), "-x", "/dev/null"})).status, kFailed);
  EXPECT_EQ(run(dejavm({"shell", trace_, "-x", path("absent")})).status, kFailed);
}

}  // namespace
}  // namespace dejavm::integration
