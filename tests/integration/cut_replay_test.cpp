// A replay on soft may stop at any step and go on from nothing but the vCPU's state and RAM.
#include <gmock/gmock.h>

#include "support/lab.h"

namespace dejavm::integration {
namespace {

using testing::ContainsRegex;

class SoftCutReplayTest : public LabTest {
 protected:
  void expect_uncut_end(const std::string& trace, const Finished& recording, unsigned cuts) const {
    Finished replay = run({DEJAVM_CUT_REPLAY, trace, std::to_string(cuts), "1"}, {}, kLabLimit);

    EXPECT_EQ(replay.status, 0) << replay.out << replay.err;
    EXPECT_THAT(replay.out, ContainsRegex("steps [0-9]+ cuts [0-9]+ vcpus [1-9][0-9]+ stops [1-9]"));
    EXPECT_EQ(ram_of(replay.out), ram_of(recording.err));
    RecordProperty("cuts", replay.out);
  }
};

TEST_F(SoftCutReplayTest, InterruptsAndDma) {
  Finished recording = record("edu_irq_dma_short", {"-accel", "soft"});
  ASSERT_EQ(recording.status, kDone) << recording.err;

  expect_uncut_end(trace_of("edu_irq_dma_short"), recording, repeats().cuts);
}

TEST_F(SoftCutReplayTest, LinuxWithUserPrograms) {
  if (!prepare_lab()) GTEST_SKIP() << why_no_lab();
  Finished recording = record_linux("linux.dvt");
  ASSERT_EQ(recording.status, kDone) << recording.err;

  expect_uncut_end(path("linux.dvt"), recording, repeats().cuts);
}

}  // namespace
}  // namespace dejavm::integration
