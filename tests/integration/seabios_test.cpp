// Real firmware: recorded on a disturbed host, replayed to the same RAM every time.
#include <gmock/gmock.h>

#include "support/dejavm.h"
#include "support/noise.h"

namespace dejavm::integration {
namespace {

using testing::HasSubstr;

class SeabiosTest : public GuestTest {
 protected:
  void SetUp() override {
    if (!readable(kSeabios)) GTEST_SKIP() << kSeabios << " is not readable (Debian package seabios)";
    GuestTest::SetUp();
  }

  bool wait_for_log(Process& recorder, const std::string& text) const {
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(120);
    while (recorder.running() && std::chrono::steady_clock::now() < deadline) {
      if (read_text("bios.log").find(text) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return read_text("bios.log").find(text) != std::string::npos;
  }

  Words record_words(const Words& more) const {
    return dejavm({"record", "-o", path("bios.dvt"), "-bios", kSeabios, "-m", "64M", "-debugcon", "file:" + path("bios.log"),
                   "-serial", "null"}) +
           more;
  }
};

TEST_F(SeabiosTest, ReplaysBitForBitWhatADisturbedHostRecorded) {
  BusyCores busy;
  Process recorder(record_words({"--random-kicks", "11", "--max-seconds", "60"}));
  bool arrived;
  {
    SignalStorm storm(recorder.pid(), 12);
    arrived = wait_for_log(recorder, "No bootable device");
  }
  recorder.signal(SIGTERM);
  Finished recording = recorder.wait();

  ASSERT_TRUE(arrived) << recording.err << read_text("bios.log");
  ASSERT_EQ(recording.status, kDone) << recording.err;
  for (unsigned i = 0; i < repeats().seabios; ++i) {
    SCOPED_TRACE(testing::Message() << "replay " << i + 1);
    expect_faithful_replay(path("bios.dvt"), recording);
  }
}

TEST_F(SeabiosTest, TwentySecondsReachTheEndOfTheFirmware) {
  if (repeats().seabios < 10) GTEST_SKIP() << "with DEJAVM_REPEAT=full only";
  Finished recording = run(record_words({"--max-seconds", "20"}));

  ASSERT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.err, HasSubstr("--max-seconds"));
  EXPECT_THAT(read_text("bios.log"), HasSubstr("No bootable device"));
  expect_faithful_replay(path("bios.dvt"), recording);
}

}  // namespace
}  // namespace dejavm::integration
