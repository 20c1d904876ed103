// Lines of the human monitor and their answers.
#include "qmp/monitor_conversation.h"

#include <gmock/gmock.h>

#include "fake_guest.h"

namespace dejavm::qmp {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using Standing = Attendant::Standing;
using Wish = Attendant::Wish;

class HumanMonitor : public testing::Test {
 protected:
  HumanMonitor() { greeting_ = conversation_.take_output(); }
  Wish say(std::string_view text, Standing standing = Standing::stands) {
    wish_ = conversation_.receive({reinterpret_cast<const uint8_t*>(text.data()), text.size()}, standing);
    answer_ = conversation_.take_output();
    return wish_;
  }

  FakeGuest guest_;
  RunState state_;
  MonitorConversation conversation_{guest_, state_};
  std::string greeting_, answer_;
  Wish wish_ = Wish::none;
};

TEST_F(HumanMonitor, GreetsWithAPrompt) { EXPECT_THAT(greeting_, EndsWith("help' for more information\r\n(dejavm) ")); }

TEST_F(HumanMonitor, PassesWordsOnAndAnswersInLines) {
  EXPECT_EQ(say("mmio list\r\n"), Wish::none);

  EXPECT_THAT(guest_.lines, ElementsAre("mmio list"));
  EXPECT_EQ(answer_, "a\r\nb\r\n(dejavm) ");
}

TEST_F(HumanMonitor, ALineMayComeInPiecesAndSeveralAtOnce) {
  say("whe");
  EXPECT_EQ(answer_, "");
  say("n\n\nwhere\n");

  EXPECT_THAT(guest_.lines, ElementsAre("when", "where"));
  EXPECT_EQ(answer_, "a\r\nb\r\n(dejavm) (dejavm) a\r\nb\r\n(dejavm) ");
}

TEST_F(HumanMonitor, StopsLetsGoAndSaysSo) {
  say("info status\n");
  EXPECT_THAT(answer_, HasSubstr("VM status: paused (prelaunch)\r\n"));
  EXPECT_EQ(say("cont\n"), Wish::run);
  say("info status\n");
  EXPECT_THAT(answer_, HasSubstr("VM status: running\r\n"));
  EXPECT_EQ(say("stop\n", Standing::runs), Wish::stop);
  say("info status\n");
  EXPECT_THAT(answer_, HasSubstr("VM status: paused\r\n"));
}

TEST_F(HumanMonitor, AGuestThatADebuggerHoldsStays) {
  EXPECT_EQ(say("c\n", Standing::held), Wish::none);

  EXPECT_THAT(answer_, HasSubstr("error: a debugger holds the guest"));
}

TEST_F(HumanMonitor, NothingIsDoneBehindQuit) {
  EXPECT_EQ(say("q\nwhen\n"), Wish::quit);

  EXPECT_TRUE(guest_.lines.empty());
}

TEST_F(HumanMonitor, ALineWithoutAnEndEndsTheConversation) {
  say(std::string(MonitorConversation::kLongestLine, 'x'));
  EXPECT_FALSE(conversation_.broken());
  say("x");

  EXPECT_TRUE(conversation_.broken());
  EXPECT_THAT(answer_, HasSubstr("the line is too long"));
}

}  // namespace
}  // namespace dejavm::qmp
