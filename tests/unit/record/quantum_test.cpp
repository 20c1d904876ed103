#include "record/quantum.h"

#include <gtest/gtest.h>

namespace dejavm::record {
namespace {

constexpr uint64_t kMs = 1'000'000;

TEST(Quantum, IsHalfOfWhatIsLeftToTheDeadline) { EXPECT_EQ(quantum_ns(10 * kMs, 0), 5 * kMs); }

TEST(Quantum, HasBounds) {
  EXPECT_EQ(quantum_ns(0, 0), kShortestQuantumNs);
  EXPECT_EQ(quantum_ns(1000 * kMs, 0), Waker::kGraceNs);
  EXPECT_EQ(quantum_ns(UINT64_MAX, UINT64_MAX), Waker::kGraceNs);
}

TEST(Quantum, LeavesTheGuestItsTimeWhereAKickIsDear) { EXPECT_EQ(quantum_ns(4 * kMs, kMs / 2), 10 * kMs); }

TEST(Quantum, ASteadyTimerLosesNoTick) {
  constexpr uint64_t kPeriod = 4 * kMs;
  uint64_t late = 0;
  for (int tick = 0; tick < 100; ++tick) {
    late = quantum_ns(kPeriod - late, 0);  // served so much behind its edge, the next one is so much nearer
    ASSERT_LT(late, kPeriod);
  }
  EXPECT_NEAR(static_cast<double>(late), kPeriod / 3.0, 1);
}

}  // namespace
}  // namespace dejavm::record
