// A replay on soft is changed by hand, and goes on as it was recorded.
#include <gmock/gmock.h>

#include "support/gdb.h"

namespace dejavm::integration {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kRejoined = "dejavm: the replay goes on as recorded; what was changed by hand is gone";

class SoftGdbDiversionTest : public GdbTest {
 protected:
  void SetUp() override {
    GdbTest::SetUp();
    if (IsSkipped()) return;
    serve_replay(recorded("buggy_dma", {"-accel", "soft"}));
  }
  /// At the entry of self_test(7), and detached at the end: the rest of the trace replays without a divergence.
  std::string debug(const Words& commands) {
    std::string output =
        gdb("buggy_dma", Words{"break self_test if n == 7", "continue", "delete"} + commands + Words{"detach"});
    Finished end = finish();
    EXPECT_EQ(end.status, kDone) << end.err;
    EXPECT_THAT(end.err, HasSubstr(" 0 divergences, "));
    return output;
  }
};

TEST_F(SoftGdbDiversionTest, CallsAFunctionAndGoesOnExactly) {
  std::string output =
      debug({"monitor when", "p completion_queue.tail", "call completion_post(5, 6)", "p completion_queue.tail",
             "p completion_queue.entries[6].checksum", "p $pc", "stepi", "monitor when", "p completion_queue.tail"});

  EXPECT_THAT(output, ContainsRegex("at ([0-9]+\\+[0-9]+), instruction 31232\n"));
  EXPECT_THAT(output, ContainsRegex("\\$1 = 6\n\\$2 = 7\n\\$3 = 6\n\\$4 = [^\n]*<self_test>"));
  EXPECT_THAT(output, HasSubstr(kRejoined));
  EXPECT_THAT(output, HasSubstr("instruction 31233\n"));
  EXPECT_THAT(output, HasSubstr("$5 = 6"));
}

TEST_F(SoftGdbDiversionTest, CallsAFunctionThatUsesADevice) {
  std::string output = debug({"call self_test(9)", "p $pc", "continue", "p $pc"});

  // The device answers as it did last, and the console hears nothing.
  EXPECT_THAT(output, ContainsRegex("\\$1 = [^\n]*<self_test>"));
  EXPECT_THAT(output, HasSubstr("dejavm: the guest exited with status 3"));
}

TEST_F(SoftGdbDiversionTest, AFunctionStopsAtABreakpointInIt) {
  std::string output = debug({"break *completion_post+6", "call completion_post(5, 6)", "p id", "reverse-stepi", "p $pc"});

  EXPECT_THAT(output, HasSubstr("The program being debugged stopped while in a function called from GDB."));
  EXPECT_THAT(output, HasSubstr("$1 = 5"));
  EXPECT_THAT(output, ContainsRegex("\\$2 = [^\n]*<main\\+[0-9]+>")) << "before the entry, in the recording";
}

TEST_F(SoftGdbDiversionTest, AVariableIsChangedUntilTheReplayGoesOn) {
  std::string output =
      debug({"set var completion_queue.head = 77", "p completion_queue.head", "stepi", "p completion_queue.head",
             "set var completion_queue.head = 78", "reverse-stepi", "p completion_queue.head"});

  EXPECT_THAT(output, ContainsRegex("\\$1 = 77\n"));
  EXPECT_THAT(output, HasSubstr(kRejoined));
  EXPECT_THAT(output, ContainsRegex("\\$2 = 0\n"));
  EXPECT_THAT(output, ContainsRegex("\\$3 = 0\n"));
}

TEST_F(SoftGdbDiversionTest, OtherRegistersRunOnWithoutTheRecording) {
  std::string output = debug({"set var $rdi = 3", "set var $pc = completion_post", "stepi", "stepi", "p $rdi", "p $pc",
                              "monitor seek 709", "maintenance flush register-cache", "monitor when", "p $rdi == 3"});

  EXPECT_THAT(output, HasSubstr("$1 = 3"));
  EXPECT_THAT(output, ContainsRegex("\\$2 = [^\n]*<completion_post\\+[0-9]+>"));
  EXPECT_THAT(output, HasSubstr("at 709+0, "));
  EXPECT_THAT(output, HasSubstr("$3 = 0"));
}

TEST_F(SoftGdbDiversionTest, AGuestThatWouldWaitForEverStops) {
  std::string output = debug({"set var *(unsigned char*)completion_post = 0xf4", "set var $pc = completion_post", "continue",
                              "reverse-stepi", "x/i completion_post"});

  EXPECT_THAT(output, HasSubstr("dejavm: the guest halted: a diversion has no interrupts; seek or go backward to leave it"));
  EXPECT_THAT(output, HasSubstr("SIGINT"));
  EXPECT_THAT(output, ContainsRegex("<completion_post>:\tmov ")) << "the code is the recording's again";
}

TEST_F(SoftGdbDiversionTest, AnAccessToADeviceStopsIt) {
  std::string output = debug({"monitor mmio break edu+4 w", "call self_test(9)", "p n", "stepi", "monitor mmio delete all",
                              "monitor mmio last edu+4", "reverse-stepi"});

  EXPECT_THAT(output, ContainsRegex(
                          "mmio: edu\\+0x4 <- 0x[0-9a-f]+ \\(4 bytes\\) at 0xfeb00004, rip 0x[0-9a-f]+, in a diversion\n"));
  EXPECT_THAT(output, HasSubstr("while in a function called from GDB"));
  EXPECT_THAT(output, HasSubstr("$1 = 9"));
  EXPECT_THAT(output, ContainsRegex("mmio: edu\\+0x4 -> [^\n]*, event [0-9]+\n")) << "the recording has its own";
}

TEST_F(SoftGdbDiversionTest, DetachingLeavesIt) {
  std::string output = debug({"set var $rax = 0x1234", "stepi", "p/x $rax"});

  EXPECT_THAT(output, HasSubstr("$1 = 0x1234"));
}

// ---- What else a debugger asks of a replay

TEST_F(SoftGdbDiversionTest, FindSearchesInTheStub) {
  std::string output = debug({"set debug remote 1", "find /w1 0x100000, +0x10000, 0x6c69616d", "set debug remote 0"});

  EXPECT_THAT(output, HasSubstr("Sending packet: $qSearch:memory:100000;10000;mail"));
  EXPECT_THAT(output, HasSubstr("1 pattern found."));
}

TEST_F(SoftGdbDiversionTest, TheMemoryMapAndTheSystemRegisters) {
  std::string output = debug({"info mem", "info registers efer tr_base mm0", "p/x $gdt_limit", "x/i 0xffffffff80000000"});

  EXPECT_THAT(output, ContainsRegex("y +\t0x00000000ffff0000 0x0000000100000000 ro"));
  EXPECT_THAT(output, ContainsRegex("y +\t0x0000000100000000 0x10000000000000000 rw"));
  EXPECT_THAT(output, ContainsRegex("\nefer +0x[0-9a-f]+ +\\[ LME LMA \\]"));
  EXPECT_THAT(output, ContainsRegex("\ntr_base +0x[^\n]*\nmm0 +0x"));
  EXPECT_THAT(output, ContainsRegex("\\$1 = 0x[1-9a-f]"));
}

TEST_F(SoftGdbDiversionTest, LinesAreSteppedWithoutAskingGdbEachTime) {
  std::string output = debug({"set debug remote 1", "next", "next", "set debug remote 0"});

  EXPECT_THAT(output, ContainsRegex("Sending packet: \\$vCont;r[0-9a-f]+,[0-9a-f]+:"));
  EXPECT_THAT(output, Not(HasSubstr("Packet received: E")));
}

}  // namespace
}  // namespace dejavm::integration
