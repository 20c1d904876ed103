// The real gdb on a replay that begins on KVM and goes on on soft.
#include <gmock/gmock.h>

#include "support/gdb.h"

namespace dejavm::integration {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

constexpr const char* kHandedOver = "dejavm: the soft engine has the replay from here on, after event ";

class KvmGdbHandOverTest : public GdbTest {
 protected:
  void SetUp() override {
    GdbTest::SetUp();
    if (IsSkipped()) return;
    trace_ = recorded("buggy_dma", {"-accel", "kvm"});
  }
  std::string debug(const std::string& engine, const Words& commands) {
    serve_replay(trace_, {"-accel", engine});
    std::string output = gdb("buggy_dma", commands + Words{"detach"});
    Finished end = finish();
    EXPECT_EQ(end.status, kDone) << end.err;
    EXPECT_THAT(end.err, HasSubstr(" 0 divergences, "));
    return output;
  }

  std::string trace_;
};

/// The text between two lines that gdb echoed.
std::string between(const std::string& text, const std::string& first, const std::string& last) {
  size_t begin = text.find(first), end = text.find(last);
  return begin < end && end != std::string::npos ? text.substr(begin, end - begin) : "nothing between: " + text;
}

TEST_F(KvmGdbHandOverTest, ForwardToADeviceBreakThenBackAndToTheEnd) {
  const Words there = {"monitor mmio break edu+0x90 w value 0x50", "continue", "stepi", "stepi"};
  const Words look = {"echo registers\\n", "info registers", "echo all\\n"};
  std::string output = debug("kvm", there + look +
                                        Words{"reverse-stepi", "stepi", "monitor when", "reverse-stepi", "reverse-continue",
                                              "continue", "monitor mmio delete all", "continue"});
  std::string straight = debug("soft", there + look + Words{"monitor when"});

  EXPECT_THAT(output, HasSubstr(kHandedOver));
  EXPECT_THAT(output, HasSubstr("mmio: edu+0x90 <- 0x50 (4 bytes)"));
  EXPECT_THAT(output, HasSubstr("dejavm: the guest exited with status 3"));
  EXPECT_EQ(between(output, "registers\n", "all\n"), between(straight, "registers\n", "all\n"));
  size_t when = straight.find("\nat ");
  ASSERT_NE(when, std::string::npos) << straight;
  EXPECT_THAT(output, HasSubstr(straight.substr(when, straight.find('\n', when + 1) - when)));
}

TEST_F(KvmGdbHandOverTest, BetweenEventsAndFromTheEnd) {
  std::string output = debug("kvm", {"break self_test if n == 7", "continue", "reverse-stepi", "stepi", "p n", "delete",
                                     "continue", "reverse-stepi", "continue"});

  EXPECT_THAT(output, HasSubstr(kHandedOver));
  EXPECT_THAT(output, HasSubstr("$1 = 7"));
  EXPECT_THAT(output, ContainsRegex("guest exited with status 3(.*\n)*.*guest exited with status 3"));
}

TEST_F(KvmGdbHandOverTest, RegistersAndMemoryAreChangedInADiversion) {
  std::string output = debug("kvm", {"break main", "continue", "set var completion_queue.head = 7",
                                     "p completion_queue.head", "delete", "continue"});

  EXPECT_THAT(output, HasSubstr("$1 = 7"));
  EXPECT_THAT(output, HasSubstr(kHandedOver));
}

TEST_F(KvmGdbHandOverTest, AWatchOnRam) {
  std::string output = debug("kvm", {"break main", "continue", "watch completion_queue.tail", "continue", "delete"});

  EXPECT_THAT(output, HasSubstr(kHandedOver));
  EXPECT_THAT(output, HasSubstr("Old value = 0\nNew value = 1\n"));
}

}  // namespace
}  // namespace dejavm::integration
