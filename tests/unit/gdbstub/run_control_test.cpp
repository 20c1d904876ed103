// Resuming, breakpoints and stop replies, from bytes to bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "conversation_fixture.h"

namespace dejavm::gdb {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

using RunControl = ConversationTest;

TEST_F(RunControl, StepsWithEveryCommandThatSteps) {
  for (const char* packet : {"s", "S05", "vCont;s", "vCont;s:1", "vCont;S05:01;c", "vCont;c:2;s:-1"}) {
    EXPECT_EQ(ask(packet), "T05thread:01;") << packet;
  }
  EXPECT_EQ(target_.state.rip, 0x1006u);
}

TEST_F(RunControl, StepsThroughARange) {
  EXPECT_EQ(ask("vCont;r1000,1010:1;c"), "T05thread:01;");
  EXPECT_EQ(target_.state.rip, 0x1010u);
  EXPECT_EQ(ask("vCont;r0,0"), "T05thread:01;");
  EXPECT_EQ(target_.state.rip, 0x1011u) << "one step at least";
}

TEST_F(RunControl, StopsTellTheRegistersThatEveryDebuggerWants) {
  target_.state.gpr[vm::rbp] = 0x11;
  target_.state.gpr[vm::rsp] = 0x22;

  EXPECT_EQ(raw(frame("s")), "T05thread:01;06:1100000000000000;07:2200000000000000;10:0110000000000000;");
}

TEST_F(RunControl, AConditionIsEvaluatedHere) {
  ask("qSupported:swbreak+");
  // rip == 0x1020, a 16-bit constant; stops at two places, and only one of them is it.
  EXPECT_EQ(ask("Z0,1010,1;X7,26001023102013"
                "27"),
            "E22")
      << "the length is wrong";
  EXPECT_EQ(ask("Z0,1010,1;X8,2600102310201327"), "OK");
  EXPECT_EQ(ask("Z0,1020,1;X8,2600102310201327"), "OK");

  EXPECT_EQ(ask("c"), "T05swbreak:;thread:01;");
  EXPECT_EQ(target_.state.rip, 0x1020u);
}

TEST_F(RunControl, OneConditionOfSeveralIsEnough) {
  ask("Z0,1010,1;X3,220027X3,220127");

  ask("c");

  EXPECT_EQ(target_.state.rip, 0x1010u);
}

TEST_F(RunControl, AConditionThatFailsToEvaluateStops) {
  ask("Z0,1010,1;X1,27");

  ask("c");

  EXPECT_EQ(target_.state.rip, 0x1010u);
}

TEST_F(RunControl, AConditionIsReplacedAndGoesWithItsBreakpoint) {
  ask("Z0,1010,1;X3,220027");
  ask("Z0,1020,1");
  ask("Z0,1010,1;X3,220127");
  ask("c");
  EXPECT_EQ(target_.state.rip, 0x1010u);

  target_.state.rip = 0x1000;
  ask("Z0,1010,1;X3,220027");
  ask("Z1,1010,1");
  ask("c");
  EXPECT_EQ(target_.state.rip, 0x1010u) << "the other breakpoint there has no condition";

  ask("z1,1010,1");
  ask("z0,1010,1");
  EXPECT_FALSE(target_.breakpoint_test);
}

TEST_F(RunControl, ConditionsAreBounded) {
  const std::string code = std::string(kMaxPayload / 2 - 100, '0');
  const std::string condition = fmt::format("X{:x},{}", code.size() / 2, code);
  unsigned inserted = 0;
  while (inserted < 1000 && ask(fmt::format("Z0,{:x},1;{}", 0x2000 + inserted, condition)) == "OK") ++inserted;

  EXPECT_LT(inserted, 1000u);
  EXPECT_EQ(target_.breakpoints.size(), inserted);
  EXPECT_EQ(ask("Z0,8000,1"), "OK");
}

TEST_F(RunControl, StepFromAnAddress) {
  ask("s2000");

  EXPECT_EQ(target_.state.rip, 0x2001u);
}

TEST_F(RunControl, StepFromAnAddressThatIsRefusedDoesNotRun) {
  target_.read_only = true;

  EXPECT_THAT(ask("s2000"), StartsWith("E."));
  EXPECT_EQ(target_.resumes, 0u);
}

TEST_F(RunControl, GoesBackwardWhereTheTargetCan) {
  target_.reverses = true;

  EXPECT_THAT(ask("qSupported:swbreak+"), testing::HasSubstr(";ReverseStep+;ReverseContinue+"));
  EXPECT_EQ(ask("s"), "T05thread:01;");
  EXPECT_EQ(ask("s"), "T05thread:01;");
  EXPECT_EQ(ask("bs"), "T05thread:01;");
  EXPECT_EQ(target_.state.rip, 0x1001u);
  EXPECT_EQ(ask("bc"), "T05replaylog:begin;thread:01;");
  EXPECT_EQ(ask("?"), "T05replaylog:begin;thread:01;");
}

TEST_F(RunControl, BackwardIsUnknownWhereTheTargetCannot) {
  EXPECT_THAT(ask("qSupported:swbreak+"), testing::Not(testing::HasSubstr("Reverse")));
  EXPECT_EQ(ask("bs"), "");
  EXPECT_EQ(ask("bc"), "");
  EXPECT_EQ(target_.resumes, 0u);
}

TEST_F(RunControl, StayingStoppedRepeatsTheStop) {
  EXPECT_EQ(ask("vCont;t"), "T05thread:01;");
  EXPECT_EQ(target_.resumes, 0u);
}

TEST_F(RunControl, BreakpointReasonsOnlyForDebuggersThatAsked) {
  ask("Z0,2000,1");
  EXPECT_EQ(ask("c"), "T05thread:01;");

  ask("qSupported:swbreak+;hwbreak+");
  ask("Z0,2001,1");
  ask("Z1,2002,1");
  EXPECT_EQ(ask("c"), "T05swbreak:;thread:01;");
  EXPECT_EQ(ask("?"), "T05swbreak:;thread:01;");
  EXPECT_EQ(ask("vCont;c"), "T05hwbreak:;thread:01;");
}

TEST_F(RunControl, NoBreakpointReasonWhereNoneIsSet) {
  ask("qSupported:swbreak+;hwbreak+");
  target_.script.push_back(FakeTarget::make_stop(Stop::Kind::breakpoint));

  EXPECT_EQ(ask("c"), "T05thread:01;");
}

TEST_F(RunControl, TheTargetSeesEachBreakpointOnce) {
  for (const char* packet : {"Z0,1010,1", "Z0,1010,1", "Z1,1010,1", "z0,1010,1", "z0,1010,1", "z1,1010,1"}) {
    EXPECT_EQ(ask(packet), "OK") << packet;
  }
  EXPECT_THAT(target_.log, ElementsAre("break 0x1010", "unbreak 0x1010"));
}

TEST_F(RunControl, WatchesOfEachKind) {
  for (const char* packet : {"Z2,3000,4", "Z3,3000,4", "Z4,3000,4", "Z4,3000,4", "z3,3000,4"}) {
    EXPECT_EQ(ask(packet), "OK") << packet;
  }
  EXPECT_THAT(target_.log, ElementsAre("watch 0 0x3000+4", "watch 1 0x3000+4", "watch 2 0x3000+4", "unwatch 1 0x3000+4"));
}

TEST_F(RunControl, WatchesInPhysicalMemoryModeArePhysical) {
  for (const char* packet : {"Z2,3000,4", "Qqemu.PhyMemMode:1", "Z2,3000,4", "Z0,3000,1", "z2,3000,4", "Z3,3000,8",
                             "Qqemu.PhyMemMode:0", "z3,3000,8", "z2,3000,4"}) {
    EXPECT_EQ(ask(packet), "OK") << packet;
  }
  EXPECT_THAT(target_.log,
              ElementsAre("watch 0 0x3000+4", "watch 0 physical 0x3000+4", "break 0x3000", "unwatch 0 physical 0x3000+4",
                          "watch 1 physical 0x3000+8", "unwatch 1 physical 0x3000+8", "unwatch 0 0x3000+4"));
}

TEST_F(RunControl, WatchesOfNothingOrBeyondTheEndAreRefused) {
  EXPECT_EQ(ask("Z2,3000,0"), "E01");
  EXPECT_EQ(ask("Z2,ffffffffffffffff,2"), "E01");
  EXPECT_EQ(ask("Z2,ffffffffffffffff,1"), "OK");
}

TEST_F(RunControl, RefusedBreakpointIsNotRemembered) {
  target_.read_only = true;
  EXPECT_EQ(ask("Z0,1010,1"), "E01");

  target_.read_only = false;
  EXPECT_EQ(ask("Z0,1010,1"), "OK");

  EXPECT_THAT(target_.log, ElementsAre("break 0x1010"));
}

TEST_F(RunControl, BreakpointsAreLimited) {
  for (unsigned i = 0; i < 65536; ++i) ask(fmt::format("Z0,{:x},1", i));

  EXPECT_EQ(ask("Z0,10000,1"), "E01");
  EXPECT_EQ(target_.breakpoints.size(), 65536u);
}

TEST_F(RunControl, WatchStopNamesTheAddress) {
  Stop stop = FakeTarget::make_stop(Stop::Kind::watch);
  stop.watch_addr = 0xffffffffc0001000;
  stop.watch_kind = WatchKind::access;
  target_.script.push_back(stop);

  EXPECT_EQ(ask("c"), "T05awatch:ffffffffc0001000;thread:01;");
}

TEST_F(RunControl, ConsoleTextComesBeforeTheStopReply) {
  Stop stop = FakeTarget::make_stop(Stop::Kind::device);
  stop.console = "mmio: edu+0x80 <- 0x1\n";
  target_.script.push_back(stop);

  EXPECT_EQ(ask("c"), console("mmio: edu+0x80 <- 0x1\n") + "|T05thread:01;");
  EXPECT_EQ(ask("?"), "T05thread:01;");
}

TEST_F(RunControl, StopRepliesOfTheOtherKinds) {
  Stop exited = FakeTarget::make_stop(Stop::Kind::exited);
  exited.exit_status = 33;
  target_.script = {FakeTarget::make_stop(Stop::Kind::interrupted), FakeTarget::make_stop(Stop::Kind::replay_end),
                    FakeTarget::make_stop(Stop::Kind::diverged), exited};

  EXPECT_EQ(ask("c"), "T02thread:01;");
  EXPECT_EQ(ask("c"), "T05replaylog:end;thread:01;");
  EXPECT_EQ(ask("c"), "T06thread:01;");
  EXPECT_EQ(ask("c"), "W21");
}

TEST_F(RunControl, FailedResumeIsToldAndStops) {
  target_.script.push_back(fail("KVM_RUN: Bad address", "report this"));

  EXPECT_EQ(ask("c"), console("KVM_RUN: Bad address; report this\n") + "|T06thread:01;");
}

}  // namespace
}  // namespace dejavm::gdb
