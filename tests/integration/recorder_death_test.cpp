// Recordings that end before their time: what was recorded stays, and replays.
#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>

#include "support/dejavm.h"

namespace dejavm::integration {
namespace {

using testing::HasSubstr;

class RecorderDeathTest : public GuestTest {
 protected:
  Words flood(const Words& more = {}) const {
    return dejavm(Words{"record", "-o", path("flood.dvt")} + guest_options("serial_flood") + more);
  }

  /// What the guest wrote to its serial port, according to the trace.
  std::string written() const {
    std::string text;
    for (const auto& event : events_of(path("flood.dvt"), {"--port", "0x3f8", "--write"})) {
      text += static_cast<char>(event["value"].get<int>());
    }
    return text.substr(std::min(text.size(), text.find("serial_flood:")));
  }

  bool wait_for_size(Process& recorder, size_t bytes) const {
    while (recorder.running() && recorder.out().size() < bytes) ::usleep(2000);
    return recorder.running();
  }
};

TEST_F(RecorderDeathTest, SigkillLosesNoCompletedEvent) {
  for (size_t bytes : {300, 2000, 12000}) {
    SCOPED_TRACE(bytes);
    Process recorder(flood());
    ASSERT_TRUE(wait_for_size(recorder, bytes)) << recorder.err();
    recorder.signal(SIGKILL);
    Finished killed = recorder.wait();

    EXPECT_EQ(killed.status, 128 + SIGKILL);
    std::string recorded = written();
    // The device writes before the event is appended, so at most the last byte is known to the terminal only.
    EXPECT_GE(recorded.size() + 1, killed.out.size());
    EXPECT_EQ(recorded.substr(0, killed.out.size()), killed.out.substr(0, recorded.size()));
    Finished replay = run(dejavm({"replay", path("flood.dvt")}));
    EXPECT_EQ(replay.status, kDone) << replay.err;
    EXPECT_THAT(replay.err, HasSubstr("not sealed"));
    EXPECT_THAT(replay.err, HasSubstr(" 0 divergences, "));
  }
}

TEST_F(RecorderDeathTest, SigtermAndSigintSeal) {
  for (int signal : {SIGTERM, SIGINT}) {
    SCOPED_TRACE(signal);
    Process recorder(flood());
    ASSERT_TRUE(wait_for_size(recorder, 1000)) << recorder.err();
    recorder.signal(signal);
    Finished recording = recorder.wait();

    EXPECT_EQ(recording.status, kDone) << recording.err;
    EXPECT_THAT(recording.err, HasSubstr("interrupted by the user"));
    EXPECT_EQ(written(), recording.out);
    Finished info = run(dejavm({"info", path("flood.dvt"), "--json"}));
    EXPECT_EQ(nlohmann::json::parse(info.out)["sealed"], true);
    expect_faithful_replay(path("flood.dvt"), recording);
  }
}

TEST_F(RecorderDeathTest, AFileThatMayNotGrowKeepsWhatWasRecorded) {
  if (accel() == "soft") GTEST_SKIP() << "the soft engine's memory for code is a file to that limit, and larger";
  if (!have_program("prlimit")) GTEST_SKIP() << "prlimit (util-linux) is absent";
  Finished recording = run(Words{"prlimit", "--fsize=17200000"} + flood({"--max-seconds", "20", "-serial", "null"}));
  if (recording.status == kDone) GTEST_SKIP() << "the recording did not reach the limit in its time";

  EXPECT_EQ(recording.status, kFailed) << recording.err;
  EXPECT_THAT(recording.err, HasSubstr("flood.dvt"));
  Finished replay = run(dejavm({"replay", path("flood.dvt")}));
  EXPECT_EQ(replay.status, kDone) << replay.err;
  EXPECT_THAT(replay.err, HasSubstr(" 0 divergences, "));
}

TEST_F(RecorderDeathTest, AFullDiskKeepsWhatWasRecorded) {
  if (::geteuid() != 0 || !have_program("unshare")) GTEST_SKIP() << "a small file system can be mounted by root only";
  // The trace is copied out of the mount namespace before it goes.
  std::string script =
      "mkdir -p \"$1/small\" && mount -t tmpfs -o size=16800k none \"$1/small\" || exit 77\n"
      "work=$1; shift; \"$@\"; status=$?\n"
      "cp --sparse=always \"$work/small/flood.dvt\" \"$work/flood.dvt\"; exit $status\n";
  Words recorder =
      dejavm(Words{"record", "-o", path("small/flood.dvt")} + guest_options("mmio_bench") + Words{"-serial", "null"});
  Finished recording = run(Words{"unshare", "-m", "sh", "-c", script, "sh", path("")} + recorder);
  if (recording.status == 77) GTEST_SKIP() << "no tmpfs can be mounted here: " << recording.err;
  if (recording.status == kDone) GTEST_SKIP() << "the recording fits: " << recording.err;

  EXPECT_EQ(recording.status, kFailed) << recording.err;
  EXPECT_THAT(recording.err, HasSubstr("No space left on device"));
  Finished replay = run(dejavm({"replay", path("flood.dvt"), "--json"}));
  EXPECT_EQ(replay.status, kDone) << replay.err;
  EXPECT_THAT(replay.err, HasSubstr(" 0 divergences, "));
}

}  // namespace
}  // namespace dejavm::integration
