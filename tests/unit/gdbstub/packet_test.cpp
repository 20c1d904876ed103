#include "gdbstub/packet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gdbstub/hex.h"

namespace dejavm::gdb {
namespace {

using Event = Framer::Event;
using testing::ElementsAre;

/// All events of a text but `none`.
std::vector<Event> events(Framer& framer, std::string_view bytes) {
  std::vector<Event> found;
  for (char c : bytes) {
    const Event event = framer.feed(static_cast<uint8_t>(c));
    if (event != Event::none) found.push_back(event);
  }
  return found;
}

TEST(Framer, WholePacketIsAnnouncedAfterItsChecksum) {
  Framer framer;

  EXPECT_THAT(events(framer, "$m0,10#2a"), ElementsAre(Event::packet));
  EXPECT_EQ(framer.payload(), "m0,10");
}

TEST(Framer, AcceptsUpperCaseChecksum) {
  Framer framer;

  EXPECT_THAT(events(framer, "$OK#9A"), ElementsAre(Event::packet));
}

TEST(Framer, WrongChecksumIsReported) {
  Framer framer;

  EXPECT_THAT(events(framer, "$m0,10#2b"), ElementsAre(Event::bad_checksum));
}

TEST(Framer, ChecksumThatIsNotHexIsReported) {
  Framer framer;

  EXPECT_THAT(events(framer, "$g#6x$g#67"), ElementsAre(Event::bad_checksum, Event::packet));
}

TEST(Framer, AcknowledgementsAndInterruptOutsidePackets) {
  Framer framer;

  EXPECT_THAT(events(framer, "+-\x03 junk"), ElementsAre(Event::ack, Event::nack, Event::interrupt));
}

TEST(Framer, InterruptByteInsideAPacketIsData) {
  Framer framer;

  EXPECT_THAT(events(framer, frame("X\x03")), ElementsAre(Event::packet));
  EXPECT_EQ(framer.payload(), "X\x03");
}

TEST(Framer, EscapedBytesAreUnescapedAndCountedRaw) {
  Framer framer;

  EXPECT_THAT(events(framer, frame("X}\x03}\x04}]")), ElementsAre(Event::packet));
  EXPECT_EQ(framer.payload(), "X#$}");
}

TEST(Framer, DollarStartsAnew) {
  Framer framer;

  EXPECT_THAT(events(framer, "$lost$g#67"), ElementsAre(Event::packet));
  EXPECT_EQ(framer.payload(), "g");
}

TEST(Framer, LongestPacketIsAccepted) {
  Framer framer;

  EXPECT_THAT(events(framer, frame(std::string(kMaxPayload, 'a'))), ElementsAre(Event::packet));
  EXPECT_EQ(framer.payload().size(), kMaxPayload);
}

TEST(Framer, TooLongPacketIsDroppedAndTheNextOneRead) {
  Framer framer;

  EXPECT_THAT(events(framer, frame(std::string(kMaxPayload + 1, 'a')) + "$g#67"),
              ElementsAre(Event::too_long, Event::packet));
  EXPECT_EQ(framer.payload(), "g");
}

TEST(Packet, FrameHasTheChecksumOfThePayload) {
  EXPECT_EQ(frame("OK"), "$OK#9a");
  EXPECT_EQ(frame(""), "$#00");
}

TEST(Packet, EscapeStopsAtTheLimit) {
  size_t taken = 0;

  EXPECT_EQ(escape("a#b", 10, taken),
            "a}\x03"
            "b");
  EXPECT_EQ(taken, 3u);
  EXPECT_EQ(escape("a#b", 2, taken), "a");
  EXPECT_EQ(taken, 1u);
}

TEST(Packet, EscapedBytesSurviveTheFramer) {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  size_t taken = 0;
  Framer framer;

  EXPECT_THAT(events(framer, frame(escape(all, kMaxPayload, taken))), ElementsAre(Event::packet));

  EXPECT_EQ(framer.payload(), all);
}

TEST(Packet, LongConsoleTextIsCutIntoPackets) {
  const std::string text(kMaxPayload, 'x');

  const std::vector<std::string> payloads = console_payloads(text);

  ASSERT_EQ(payloads.size(), 3u);
  EXPECT_LE(payloads[0].size(), kMaxPayload);
  EXPECT_EQ(payloads[2], "O7878");
  EXPECT_TRUE(console_payloads("").empty());
}

TEST(Hex, RefusesOddAndForeignCharacters) {
  EXPECT_EQ(from_hex("00fF"), (Bytes{0, 0xff}));
  EXPECT_EQ(from_hex("0"), std::nullopt);
  EXPECT_EQ(from_hex("0g"), std::nullopt);
}

TEST(Hex, CursorTakesAtMostSixteenDigits) {
  Cursor fits("ffffffffffffffff,1");
  Cursor too_long("10000000000000000");

  EXPECT_EQ(fits.take_hex(), ~uint64_t{0});
  EXPECT_EQ(fits.rest(), ",1");
  EXPECT_EQ(too_long.take_hex(), std::nullopt);
}

}  // namespace
}  // namespace dejavm::gdb
