// Going anywhere in a replay, forward and backward, gives what a run straight forward has there.
#include <fmt/core.h>
#include <gmock/gmock.h>

#include "support/lab.h"

namespace dejavm::integration {
namespace {

using testing::HasSubstr;
using testing::Not;

class SoftTravelTest : public LabTest {
 protected:
  /// `memory`: bytes for the pages of checkpoints; little has them thinned out all the time.
  Finished expect_same_everywhere(const std::string& trace, unsigned visits, const std::string& spacing,
                                  const std::string& memory = "1000000000") const {
    Finished travel = run({DEJAVM_TRAVEL, trace, std::to_string(visits), "1", spacing, memory}, {}, kLabLimit);

    EXPECT_EQ(travel.status, 0) << travel.out << travel.err;
    EXPECT_THAT(travel.out, HasSubstr(fmt::format("compared {} different 0", visits * 5)));
    RecordProperty("travel", travel.out);
    return travel;
  }
};

TEST_F(SoftTravelTest, ReadsAndWritesOfEverySize) {
  expect_same_everywhere(recorded("mmio_exerciser", {"-accel", "soft"}), 200, "20000");
}

TEST_F(SoftTravelTest, InterruptsAndDma) {
  std::string trace = recorded("edu_irq_dma_short", {"-accel", "soft"});

  expect_same_everywhere(trace, 200, "10000");
  expect_same_everywhere(trace, 100, "3000", "40000");
}

TEST_F(SoftTravelTest, AGuestThatReadsTheTsc) {
  expect_same_everywhere(recorded("tsc_reader", {"-accel", "soft"}), 100, "50000", "100000");
}

/// Long enough for keyframes; the first visit starts from one, and many of the others do.
TEST_F(SoftTravelTest, AcrossTheKeyframesOfATrace) {
  Finished recording = run(dejavm(Words{"record", "-accel", "soft", "-o", path("long.dvt"), "--keyframes", "1",
                                        "--max-seconds", "8", "-serial", "null"} +
                                  guest_options("serial_flood")));
  ASSERT_EQ(recording.status, kDone) << recording.err;

  Finished travel = expect_same_everywhere(path("long.dvt"), 30, "400000", "2000000");
  EXPECT_THAT(travel.out, Not(HasSubstr("keyframes 0;")));
}

TEST_F(SoftTravelTest, Firmware) {
  Finished recording = run(dejavm({"record", "-o", path("bios.dvt"), "-accel", "soft", "-bios", kSeabios, "-m", "64M",
                                   "-no-reboot", "--max-events", "60000"}));
  ASSERT_EQ(recording.status, kDone) << recording.err;

  expect_same_everywhere(path("bios.dvt"), 50, "4000000");
}

TEST_F(SoftTravelTest, LinuxBoot) {
  if (!prepare_lab()) GTEST_SKIP() << why_no_lab();
  Finished recording = record_linux("linux.dvt", {"--keyframes", "1"});
  ASSERT_EQ(recording.status, kDone) << recording.err;

  Finished travel = expect_same_everywhere(path("linux.dvt"), 50, "4000000");
  EXPECT_THAT(travel.out, Not(HasSubstr("keyframes 0;")));
  expect_same_everywhere(path("linux.dvt"), 20, "4000000", "50000000");
}

}  // namespace
}  // namespace dejavm::integration
