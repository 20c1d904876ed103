// A replay on soft may stop at any step and go on from nothing but the vCPU's state and RAM.
#include <gmock/gmock.h>

#include "support/lab.h"

namespace dejavm::integration {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

class SoftCutReplayTest : public LabTest {
 protected:
  void expect_uncut_end(const std::string& trace, const Finished& recording, unsigned cuts) const {
    Finished replay = run({DEJAVM_CUT_REPLAY, trace, std::to_string(cuts), "1"}, {}, kLabLimit);

    EXPECT_EQ(replay.status, 0) << replay.out << replay.err;
    EXPECT_THAT(replay.out, ContainsRegex("steps [0-9]+ cuts [0-9]+ vcpus [1-9][0-9]+ stops [1-9][0-9]* keyframes "));
    EXPECT_EQ(ram_of(replay.out), ram_of(recording.err));
    RecordProperty("cuts", replay.out);
  }
};

TEST_F(SoftCutReplayTest, InterruptsAndDma) {
  Finished recording = record("edu_irq_dma_short", {"-accel", "soft"});
  ASSERT_EQ(recording.status, kDone) << recording.err;

  expect_uncut_end(trace_of("edu_irq_dma_short"), recording, repeats().cuts);
}

TEST_F(SoftCutReplayTest, AGuestThatReadsTheTscGoesOnFromEveryKeyframe) {
  Finished recording = record("tsc_reader", {"-accel", "soft", "--keyframes", "1"});
  ASSERT_EQ(recording.status, kDone) << recording.err;

  expect_uncut_end(trace_of("tsc_reader"), recording, repeats().cuts);

  for (const char* keyframe : {"1", "2", "3", "4"}) {
    SCOPED_TRACE(keyframe);
    expect_faithful_replay(trace_of("tsc_reader"), recording, {"--from-keyframe", keyframe});
    Finished counted = run(dejavm({"replay", trace_of("tsc_reader"), "--from-keyframe", keyframe, "--until", "@1"}));
    EXPECT_EQ(counted.status, kDone) << counted.err;
    EXPECT_THAT(counted.err, HasSubstr("replayed 0 of ")) << "one step after the start is behind all keyframes";
  }
}

TEST_F(SoftCutReplayTest, LinuxWithUserPrograms) {
  if (!prepare_lab()) GTEST_SKIP() << why_no_lab();
  Finished recording = record_linux("linux.dvt", {"--keyframes", "1"});
  ASSERT_EQ(recording.status, kDone) << recording.err;

  expect_uncut_end(path("linux.dvt"), recording, repeats().cuts);
}

}  // namespace
}  // namespace dejavm::integration
