// Kicks in the middle of a replay that runs under its sandbox.
#include <gmock/gmock.h>

#include "support/dejavm.h"

namespace dejavm::integration {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

class KickedReplayTest : public GuestTest {};

TEST_F(KickedReplayTest, KicksUnderTheSandboxChangeNothing) {
  Finished recording = record("edu_irq_dma_short", {"--random-kicks", "9"});
  ASSERT_EQ(recording.status, kDone) << recording.err;

  Finished replay = run({DEJAVM_KICKED_REPLAY, accel(), trace_of("edu_irq_dma_short")});

  EXPECT_EQ(replay.status, 0) << replay.out << replay.err;
  EXPECT_THAT(replay.out, ContainsRegex("kicks [1-9][0-9]+ before_delivery [1-9]"));
  EXPECT_THAT(replay.out, HasSubstr("Seccomp:\t2"));
  EXPECT_EQ(ram_of(replay.out), ram_of(recording.err));
}

}  // namespace
}  // namespace dejavm::integration
