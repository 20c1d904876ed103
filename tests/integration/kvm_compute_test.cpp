// Guests that compute without exits under a timer of 100 Hz: each interrupt enters at a kick, and a replay has to find
// where.
#include <gmock/gmock.h>

#include "support/dejavm.h"

namespace dejavm::integration {
namespace {

using testing::HasSubstr;

/// In each direction; 20 in the soak.
int times() { return is_soak() ? 20 : 2; }

class KvmComputeTest : public KvmTest {
 protected:
  void expect_found_again(const std::string& guest) {
    Finished recording = record(guest, {"-accel", "kvm"});
    ASSERT_EQ(recording.status, kDone) << recording.err;
    ASSERT_THAT(recording.out, HasSubstr("compute: "));
    ASSERT_GE(events_of(trace_of(guest), {"--kind", "irq"}).size(), 8u);
    for (const char* engine : {"soft", "kvm"}) {
      for (int i = 0; i < times(); ++i) expect_faithful_replay(trace_of(guest), recording, {"-accel", engine});
    }
  }
};

TEST_F(KvmComputeTest, ACounterInARegister) { expect_found_again("compute_register"); }

TEST_F(KvmComputeTest, ACounterInMemory) { expect_found_again("compute_memory"); }

TEST_F(KvmComputeTest, AHashOverATable) { expect_found_again("compute_table"); }

TEST_F(KvmComputeTest, AHashWithSse) {
  Finished first = record("compute_sse", {"-accel", "kvm"});
  if (first.err.find("lacks this instruction") != std::string::npos)
    GTEST_SKIP() << "this host's KVM interprets ring 0 and has no SSE arithmetic there";
  expect_found_again("compute_sse");
}

}  // namespace
}  // namespace dejavm::integration
