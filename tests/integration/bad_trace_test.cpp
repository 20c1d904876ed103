// Trace files that are damaged, foreign, or newer than this program.
#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "support/dejavm.h"
#include "support/trace_edit.h"
#include "trace/frame.h"
#include "trace/limits.h"

namespace dejavm::integration {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

class BadTraceTest : public GuestTest {
 protected:
  void SetUp() override {
    GuestTest::SetUp();
    if (IsSkipped()) return;
    recorded("mmio_exerciser");
    good_ = read_text("mmio_exerciser.dvt");
    ASSERT_GT(good_.size(), 1000u);
  }

  /// Runs every reading command on a file with these bytes and returns the exit status of replay.
  int replay_of(const std::string& bytes) {
    write_file("bad.dvt", bytes);
    Finished info = run(dejavm({"info", path("bad.dvt")}));
    Finished dump = run(dejavm({"dump", path("bad.dvt")}));
    Finished replay = run(dejavm({"replay", path("bad.dvt")}));
    messages_ = info.err + dump.err + replay.err;
    EXPECT_THAT(info.status, AnyOf(kDone, kFailed, kDamaged)) << info.err;
    EXPECT_THAT(dump.status, AnyOf(kDone, kFailed, kDamaged)) << dump.err;
    return replay.status;
  }

  std::string good_;
  std::string messages_;
};

TEST_F(BadTraceTest, ATruncatedTraceReplaysWhatIsThere) {
  EXPECT_EQ(replay_of(good_), kDone) << messages_;
  unsigned damaged = 0;
  for (size_t tenth = 1; tenth < 10; ++tenth) {
    SCOPED_TRACE(tenth);
    int status = replay_of(good_.substr(0, good_.size() * tenth / 10));
    EXPECT_THAT(status, AnyOf(kDone, kDamaged)) << messages_;
    damaged += status == kDamaged;
  }
  EXPECT_GT(damaged, 5u);
}

TEST_F(BadTraceTest, ATraceCutIntoItsHeadIsDamaged) {
  for (size_t size : {size_t{0}, size_t{1}, size_t{7}, size_t{63}, size_t{64}, size_t{100}}) {
    SCOPED_TRACE(size);
    EXPECT_THAT(replay_of(good_.substr(0, size)), AnyOf(kFailed, kDamaged)) << messages_;
    EXPECT_THAT(messages_, HasSubstr("bad.dvt"));
  }
}

TEST_F(BadTraceTest, FlippedBitsNeverCrashAndNeverPassAsGood) {
  std::mt19937 random(5);
  for (unsigned i = 0; i < 12; ++i) {
    std::string bytes = good_;
    size_t at = random() % bytes.size();
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
    SCOPED_TRACE(testing::Message() << "byte " << at);
    EXPECT_THAT(replay_of(bytes), AnyOf(kDone, kFailed, kDiverged, kDamaged)) << messages_;
  }
}

TEST_F(BadTraceTest, AFlippedBitInTheEventsIsDamage) {
  std::string bytes = good_;
  size_t at = bytes.size() * 6 / 10;
  bytes[at] = static_cast<char>(bytes[at] ^ 4);

  EXPECT_EQ(replay_of(bytes), kDamaged) << messages_;
}

class BrokenChunkTest : public BadTraceTest {
 protected:
  void SetUp() override {
    BadTraceTest::SetUp();
    if (IsSkipped()) return;
    rewrite_trace(trace_of("mmio_exerciser"), path("broken.dvt"), read_events(trace_of("mmio_exerciser")),
                  {.chunk_events = 100});
    break_chunk(path("broken.dvt"), 3);
    before_ = trace::Reader::open(path("broken.dvt")).value()->chunks().at(3).first_event;
    ASSERT_GT(before_, 200u);
  }

  uint64_t before_ = 0;  ///< events before the broken chunk
};

TEST_F(BrokenChunkTest, AReplayThatAnErrorEndsSaysHowFarItCame) {
  Finished replay = run(dejavm({"replay", path("broken.dvt"), "--json"}));
  auto report = nlohmann::json::parse(replay.out, nullptr, false);

  EXPECT_EQ(replay.status, kDamaged) << replay.err;
  EXPECT_THAT(replay.err, testing::ContainsRegex("replayed " + std::to_string(before_) +
                                                 " of [0-9]+ events, 0 divergences, ram [0-9a-f]+, [0-9.]+ s\n"));
  EXPECT_THAT(replay.err, HasSubstr("dejavm: error: the chunk at byte "));
  ASSERT_TRUE(report.is_object()) << replay.out;
  EXPECT_EQ(report["replayed"], before_);
  EXPECT_THAT(report["error"].get<std::string>(), HasSubstr("the chunk at byte "));
}

TEST_F(BrokenChunkTest, ADumpPrintsEventsAsItReadsThem) {
  Finished dump = run(dejavm({"dump", path("broken.dvt"), "--port", "0-0xffff", "--device", "debugcon"}));
  Finished first = run(dejavm({"dump", path("broken.dvt"), "--to", "9", "--kind", "access"}));

  EXPECT_EQ(dump.status, kDamaged) << dump.err;
  EXPECT_THAT(dump.err, HasSubstr("dejavm: error: the chunk at byte "));
  EXPECT_THAT(dump.out, HasSubstr("pio "));
  EXPECT_EQ(first.status, kDone) << first.err;
  EXPECT_EQ(std::count(first.out.begin(), first.out.end(), '\n'), 10);
}

TEST_F(BadTraceTest, ForeignFilesAreRefused) {
  EXPECT_EQ(replay_of("\x7f"
                      "ELF" +
                      std::string(5000, '\1')),
            kDamaged)
      << messages_;
  EXPECT_THAT(messages_, HasSubstr("is not a dejavm trace"));
  EXPECT_EQ(replay_of(std::string(5000, '\0')), kDamaged) << messages_;
}

TEST_F(BadTraceTest, ADirectoryIsRefused) {
  Finished replay = run(dejavm({"replay", path("")}));

  EXPECT_EQ(replay.status, kFailed);
  EXPECT_THAT(replay.err, HasSubstr(path("")));
}

TEST_F(BadTraceTest, ANewerVersionIsRefusedByName) {
  std::string bytes = good_;
  uint32_t newer = trace::kFormatVersion + 1;
  std::memcpy(bytes.data() + trace::kVersionAt, &newer, sizeof newer);

  EXPECT_EQ(replay_of(bytes), kFailed) << messages_;
  EXPECT_THAT(messages_, HasSubstr("version " + std::to_string(newer)));
}

}  // namespace
}  // namespace dejavm::integration
