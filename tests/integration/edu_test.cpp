// A driver with interrupts and DMA, recorded while the guest is left at random moments.
#include <gmock/gmock.h>

#include "support/dejavm.h"
#include "support/noise.h"

namespace dejavm::integration {
namespace {

using testing::HasSubstr;

class EduTest : public GuestTest {
 protected:
  /// Records and replays; returns how many interrupts and DMA writes entered between events: on KVM at a matched state, on
  /// soft at a count of steps.
  size_t record_and_replay(const std::string& guest, unsigned seed) const {
    Finished recording = record(guest, {"--random-kicks", std::to_string(seed)});
    EXPECT_EQ(recording.status, kDone) << recording.err;
    EXPECT_THAT(recording.out, HasSubstr("edu_irq_dma: data "));
    EXPECT_THAT(recording.err, HasSubstr("the guest exited with status 1 (isa-debug-exit)"));
    expect_faithful_replay(trace_of(guest), recording);
    const char* placement = accel() == "soft" ? "steps" : "state";
    size_t between = 0;
    for (const auto& event : events_of(trace_of(guest), {"--kind", "irq,dma"})) between += event["placement"] == placement;
    return between;
  }
};

TEST_F(EduTest, ReplaysInterruptsAndDmaEveryTime) {
  size_t between = 0;
  for (unsigned round = 1; round <= repeats().edu; ++round) {
    SCOPED_TRACE(testing::Message() << "round " << round);
    between += record_and_replay("edu_irq_dma_short", round);
    ASSERT_FALSE(HasFailure());
  }

  EXPECT_GT(between, 0u) << "no interrupt came where the guest makes no exit: the hard case was not tested";
}

TEST_F(EduTest, ReplaysTwentyRoundsOnBusyCores) {
  BusyCores busy;
  size_t between = record_and_replay("edu_irq_dma", 77);

  EXPECT_GT(between, 0u);
}

TEST_F(EduTest, RecordsTheTransfersOfTheDevice) {
  std::string trace = recorded("edu_irq_dma_short");

  auto transfers = events_of(trace, {"--kind", "dma"});

  // Three of six rounds fetch from the device; a page boundary in the buffer may split one.
  ASSERT_GE(transfers.size(), 3u);
  for (const auto& transfer : transfers) EXPECT_FALSE(transfer["bytes"].get<std::string>().empty());
}

}  // namespace
}  // namespace dejavm::integration
