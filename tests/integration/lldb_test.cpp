// The real lldb on a replay.
#include <gmock/gmock.h>

#include "support/gdb.h"

namespace dejavm::integration {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

class SoftLldbTest : public GdbTest {
 protected:
  void SetUp() override {
    if (!have_program("lldb-14")) GTEST_SKIP() << "lldb-14 is not installed";
    GdbTest::SetUp();
    if (IsSkipped()) return;
    server_ =
        std::make_unique<Process>(dejavm({"replay", recorded("buggy_dma", {"-accel", "soft"}), "-S", "-gdb", "tcp::0"}));
    ASSERT_TRUE(server_->wait_for_text("the replay waits")) << server_->err();
    const std::string said = server_->err();
    const std::string before = "listening on tcp:";
    address_ = said.substr(said.find(before) + before.size());
    address_ = address_.substr(0, address_.find(';'));
  }

  /// `lldb-14 -b` that knows the guest's symbols, connects and executes `commands`; what it printed.
  std::string lldb(const Words& commands) const {
    Words words = {"lldb-14", "--no-lldbinit", "--no-use-colors", "-b"};
    for (const std::string& command :
         Words{"target create " + guest_symbols("buggy_dma"), "gdb-remote " + address_} + commands) {
      words = words + Words{"-o", command};
    }
    Finished finished = run(words);
    EXPECT_NE(finished.status, kTimedOut) << finished.out << finished.err;
    return finished.out + finished.err;
  }

  std::unique_ptr<Process> server_;
  std::string address_;
};

TEST_F(SoftLldbTest, AttachesReadsStepsAndStopsOnABreakpoint) {
  std::string output = lldb({"register read rip cr0 fs_base xmm0", "breakpoint set -n self_test", "continue", "bt",
                             "frame variable n", "thread step-inst", "register read rip", "memory read -c 8 0x101338",
                             "next", "p completion_queue.tail", "process detach"});
  Finished end = server_->wait();

  EXPECT_THAT(output, HasSubstr("name = 'CPU#0', stop reason = signal SIGTRAP"));
  EXPECT_THAT(output, HasSubstr("rip = 0x00000000fffffff0"));
  EXPECT_THAT(output, HasSubstr("cr0 = 0x0000000060000010"));
  EXPECT_THAT(output, HasSubstr("xmm0 = {0x00 0x00"));
  EXPECT_THAT(output, HasSubstr("stop reason = breakpoint 1.1"));
  EXPECT_THAT(output, ContainsRegex("frame #1: 0x[0-9a-f]+ buggy_dma.elf`main"));
  EXPECT_THAT(output, HasSubstr("(uint32_t) n = 5"));
  EXPECT_THAT(output, HasSubstr("stop reason = instruction step into"));
  EXPECT_THAT(output, ContainsRegex("rip = 0x[0-9a-f]+  buggy_dma.elf`self_test \\+ 1"));
  EXPECT_THAT(output, ContainsRegex("0x00101338: [0-9a-f ]+  [^\n]+\n"));
  EXPECT_THAT(output, HasSubstr("stop reason = step over"));
  EXPECT_THAT(output, HasSubstr("(uint32_t) $0 = 6"));
  EXPECT_EQ(end.status, kDone) << end.err;
  EXPECT_THAT(end.err, HasSubstr(" 0 divergences, "));
}

TEST_F(SoftLldbTest, KnowsTheDevicesAndWatchesMemory) {
  std::string output =
      lldb({"breakpoint set -n mailbox_fill", "continue", "memory region 0xffffc90000000000", "memory region 0x1000000000",
            "watchpoint set variable completion_queue.tail", "continue", "bt 1", "process detach"});

  EXPECT_THAT(output, HasSubstr("[0xffffc90000000000-0xffffc90000100000) rwx edu"));
  EXPECT_THAT(output, ContainsRegex("\\[0x0000001000000000-0x[0-9a-f]+\\) ---"));
  EXPECT_THAT(output, HasSubstr("stop reason = watchpoint 1"));
  EXPECT_THAT(output, HasSubstr("buggy_dma.elf`completion_post"));
}

}  // namespace
}  // namespace dejavm::integration
