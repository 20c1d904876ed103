// A trace that says something else than what happened diverges exactly where the difference shows.
#include <gmock/gmock.h>

#include "support/dejavm.h"
#include "support/trace_edit.h"

namespace dejavm::integration {
namespace {

using testing::HasSubstr;
using vm::Direction;

constexpr uint64_t kEduPhysical = 0xfeb00000, kLiveness = kEduPhysical + 4, kIdentification = kEduPhysical;
constexpr uint64_t kUartData = 0x3f8, kUartLineStatus = 0x3fd, kDebugExit = 0x501;

trace::AccessEvent& access_at(Events& events, size_t index) { return std::get<trace::AccessEvent>(events[index].body); }

class AlteredTraceTest : public GuestTest {
 protected:
  void SetUp() override {
    GuestTest::SetUp();
    if (IsSkipped()) return;
    original_ = recorded("edu_irq_dma_short");
    events_ = read_events(original_);
    ASSERT_FALSE(events_.empty());
  }

  /// Writes events_ as a trace and replays it; the report of --json.
  nlohmann::json replay_altered(const Words& more = {}) {
    rewrite_trace(original_, path("altered.dvt"), events_);
    Finished replay = run(dejavm({"replay", path("altered.dvt"), "--json"}) + more);
    status_ = replay.status;
    messages_ = replay.err;
    return nlohmann::json::parse(replay.out, nullptr, false);
  }

  void expect_divergence(const nlohmann::json& report, const std::string& kind, uint64_t event) {
    EXPECT_EQ(status_, kDiverged) << messages_;
    ASSERT_TRUE(report.is_object()) << messages_;
    ASSERT_EQ(report["divergence_count"], 1) << report;
    const auto& divergence = report["divergences"][0];
    EXPECT_EQ(divergence["kind"], kind) << divergence;
    EXPECT_EQ(divergence["event"], event) << divergence;
  }

  size_t index_of(Direction direction, uint64_t addr, size_t start = 0) const {
    auto index = find_access(events_, direction, addr, start);
    EXPECT_TRUE(index.has_value()) << "no such access in the recording";
    return index.value_or(0);
  }

  std::string original_;
  Events events_;
  int status_ = 0;
  std::string messages_;
};

TEST_F(AlteredTraceTest, AnUnchangedCopyReplays) {
  auto report = replay_altered();

  EXPECT_EQ(status_, kDone) << messages_;
  EXPECT_EQ(report["divergence_count"], 0);
  EXPECT_EQ(report["ram"], report["recorded_ram"]);
}

TEST_F(AlteredTraceTest, AWrittenValueDivergesAtItsEvent) {
  events_ = without_digests(events_);
  size_t index = index_of(Direction::write, kLiveness);
  access_at(events_, index).access.value ^= 0x10;

  auto report = replay_altered();

  expect_divergence(report, "access", number_of(events_, index));
}

TEST_F(AlteredTraceTest, TheReportSaysAllThatIsKnown) {
  size_t index = index_of(Direction::write, kLiveness);
  access_at(events_, index).access.value = 0xabcd;

  auto report = replay_altered();

  ASSERT_TRUE(report.is_object());
  const auto& divergence = report["divergences"][0];
  EXPECT_THAT(divergence["expected"].get<std::string>(), HasSubstr("edu+0x4 <- 0xabcd (4 bytes)"));
  EXPECT_THAT(divergence["actual"].get<std::string>(), HasSubstr("edu+0x4 <- 0x1 (4 bytes)"));
  EXPECT_THAT(divergence["registers"].get<std::string>(), HasSubstr("rip "));
  EXPECT_EQ(divergence["recent"].size(), 8u);
  EXPECT_THAT(messages_, HasSubstr(" 1 divergences, ram "));
}

TEST_F(AlteredTraceTest, AReadValueDivergesAtTheFirstEventThatDependsOnIt) {
  events_ = without_digests(events_);
  size_t read = index_of(Direction::read, kIdentification);
  access_at(events_, read).access.value = 0x020000ed;  // the guest prints "edu 2.0" instead of "edu 1.0"
  size_t digit = read;
  for (std::string text; !text.ends_with("edu 1");) {
    digit = index_of(Direction::write, kUartData, digit + 1);
    ASSERT_NE(digit, 0u);
    text += static_cast<char>(access_at(events_, digit).access.value);
  }

  auto report = replay_altered();

  expect_divergence(report, "access", number_of(events_, digit));
  EXPECT_THAT(report["divergences"][0]["actual"].get<std::string>(), HasSubstr("serial0+0x0 <- 0x32 (1 byte)"));
}

TEST_F(AlteredTraceTest, AReadThatDecidesABranchDivergesAtTheNextEvent) {
  events_ = without_digests(events_);
  size_t read = index_of(Direction::read, kLiveness);
  access_at(events_, read).access.value ^= 1;  // the guest reports a failure at once

  auto report = replay_altered();

  expect_divergence(report, "access", number_of(events_, read) + 1);
}

TEST_F(AlteredTraceTest, ALineStatusThatIsNotReadyMakesTheGuestAskAgain) {
  events_ = without_digests(events_);
  size_t read = index_of(Direction::read, kUartLineStatus);
  access_at(events_, read).access.value = 0;

  auto report = replay_altered();

  expect_divergence(report, "access", number_of(events_, read) + 1);
  EXPECT_THAT(report["divergences"][0]["actual"].get<std::string>(), HasSubstr("serial0+0x5 ->"));
}

TEST_F(AlteredTraceTest, AnAlteredDigestIsAStateDivergence) {
  auto index = find_event(
      events_, [](const trace::EventBody& body) { return std::holds_alternative<trace::DigestEvent>(body); }, 1);
  if (!index && accel() == "soft") GTEST_SKIP() << "a digest comes every second of guest time, and this guest is shorter";
  ASSERT_TRUE(index) << "the recording has no digest";
  std::get<trace::DigestEvent>(events_[*index].body).ram_digest ^= 1;

  auto report = replay_altered();

  expect_divergence(report, "state", number_of(events_, *index) - 1);
}

TEST_F(AlteredTraceTest, KeepGoingReplaysPastAStateDivergence) {
  size_t write = index_of(Direction::write, kLiveness);
  trace::Event digest{trace::DigestEvent{1, 2, {}, false}, events_[write].time_us};
  events_.insert(events_.begin() + static_cast<long>(write) + 1, digest);

  auto report = replay_altered({"--keep-going"});

  expect_divergence(report, "state", number_of(events_, write));
  EXPECT_EQ(report["finished"], true);
  EXPECT_EQ(report["replayed"], report["events"]);
  EXPECT_EQ(report["ram"], report["recorded_ram"]);
}

TEST_F(AlteredTraceTest, WhatSoftRecordedIsNotBlamedOnRdtsc) {
  original_ = recorded("tsc_keeper", {"-accel", "soft"});
  events_ = read_events(original_);
  size_t last = index_of(Direction::write, kDebugExit);
  events_.insert(events_.begin() + static_cast<long>(last) + 1,
                 {trace::DigestEvent{1, 2, {}, false}, events_[last].time_us});

  auto report = replay_altered();

  expect_divergence(report, "state", number_of(events_, last));
  EXPECT_TRUE(report["divergences"][0]["class"].is_null()) << report["divergences"][0];
  EXPECT_EQ(report["divergences"][0]["evidence"], "");
}

TEST_F(AlteredTraceTest, AMissingEventDivergesInItsPlace) {
  events_ = without_digests(events_);
  size_t index = index_of(Direction::write, kLiveness);
  uint64_t number = number_of(events_, index);
  events_.erase(events_.begin() + static_cast<long>(index));

  auto report = replay_altered();

  expect_divergence(report, "access", number);
}

TEST_F(AlteredTraceTest, AnAddedEventDivergesInItsPlace) {
  events_ = without_digests(events_);
  size_t index = index_of(Direction::write, kLiveness);
  events_.insert(events_.begin() + static_cast<long>(index), events_[index]);

  auto report = replay_altered();

  expect_divergence(report, "access", number_of(events_, index) + 1);
}

TEST_F(AlteredTraceTest, AnInterruptWhereTheGuestTakesNoneDiverges) {
  events_ = without_digests(events_);
  size_t index = index_of(Direction::write, kLiveness);  // the driver has interrupts off here
  trace::Event interrupt{trace::InterruptEvent{0x20, {}}, events_[index].time_us};
  events_.insert(events_.begin() + static_cast<long>(index) + 1, interrupt);

  auto report = replay_altered();

  expect_divergence(report, "access", number_of(events_, index) + 1);
  EXPECT_THAT(report["divergences"][0]["actual"].get<std::string>(), HasSubstr("cannot take an interrupt"));
}

TEST_F(AlteredTraceTest, AlteredDmaBytesDiverge) {
  auto index = find_event(
      events_, [](const trace::EventBody& body) { return std::holds_alternative<trace::MemoryWriteEvent>(body); });
  ASSERT_TRUE(index) << "the recording has no DMA";
  std::get<trace::MemoryWriteEvent>(events_[*index].body).bytes[0] ^= 1;

  replay_altered();

  EXPECT_EQ(status_, kDiverged) << messages_;
}

}  // namespace
}  // namespace dejavm::integration
