#include "devices/rtc.h"

#include <gtest/gtest.h>

#include <ctime>

#include "fakes.h"

namespace dejavm::devices {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr int64_t kStart = 1'709'209'738;  // Thursday 2024-02-29 12:28:58
constexpr uint64_t kMib = uint64_t{1} << 20;

class RtcTest : public testing::Test, public DeviceFixture {
 protected:
  RtcTest() { EXPECT_TRUE(rtc.attach(bus).has_value()); }

  unsigned cmos(unsigned index) {
    out(0x70, index);
    return static_cast<unsigned>(in(0x71));
  }
  void set_cmos(unsigned index, unsigned value) {
    out(0x70, index);
    out(0x71, value);
  }

  FakeIrq irq;
  Rtc rtc{timers, irq.line(), kStart, {.ram_below_4g = 3072 * kMib, .ram_above_4g = 1024 * kMib, .cpus = 1}};
};

TEST(Calendar, AgreesWithTheHostLibrary) {
  for (int64_t s = -3'000'000'000; s < 10'000'000'000; s += 7'777'777) {
    std::time_t time = s;
    std::tm tm{};
    ASSERT_NE(gmtime_r(&time, &tm), nullptr);
    CalendarTime expected{static_cast<unsigned>(tm.tm_year + 1900), static_cast<unsigned>(tm.tm_mon + 1),
                          static_cast<unsigned>(tm.tm_mday),        static_cast<unsigned>(tm.tm_hour),
                          static_cast<unsigned>(tm.tm_min),         static_cast<unsigned>(tm.tm_sec),
                          static_cast<unsigned>(tm.tm_wday + 1)};
    ASSERT_EQ(to_calendar(s), expected) << s;
    ASSERT_EQ(to_unix(expected), s);
  }
}

TEST_F(RtcTest, ShowsTheInjectedTimeInBcd) {
  EXPECT_EQ(cmos(0), 0x58u);
  EXPECT_EQ(cmos(2), 0x28u);
  EXPECT_EQ(cmos(4), 0x12u);
  EXPECT_EQ(cmos(6), 5u);
  EXPECT_EQ(cmos(7), 0x29u);
  EXPECT_EQ(cmos(8), 0x02u);
  EXPECT_EQ(cmos(9), 0x24u);
  EXPECT_EQ(cmos(0x32), 0x20u);
}

TEST_F(RtcTest, TimePasses) {
  advance(2 * kSecond);
  EXPECT_EQ(cmos(0), 0x00u);
  EXPECT_EQ(cmos(2), 0x29u);
}

TEST_F(RtcTest, BinaryAndTwelveHourFormats) {
  set_cmos(11, 0x04);
  EXPECT_EQ(cmos(0), 58u);
  EXPECT_EQ(cmos(4), 0x8cu);  // 12 PM
  set_cmos(4, 0x81);
  EXPECT_EQ(cmos(4), 0x81u);
  set_cmos(11, 0x06);
  EXPECT_EQ(cmos(4), 13u);
}

TEST_F(RtcTest, SetHoldsTheRegistersAndThenContinues) {
  set_cmos(11, 0x82);
  set_cmos(9, 0x30);
  set_cmos(8, 0x01);
  set_cmos(7, 0x05);
  advance(10 * kSecond);
  EXPECT_EQ(cmos(0), 0x58u);
  set_cmos(11, 0x02);
  EXPECT_EQ(cmos(0), 0x58u);
  EXPECT_EQ(cmos(9), 0x30u);
  EXPECT_EQ(cmos(6), 7u);  // 2030-01-05 is a Saturday
  advance(kSecond);
  EXPECT_EQ(cmos(0), 0x59u);
}

TEST_F(RtcTest, UipRisesBeforeTheUpdate) {
  EXPECT_EQ(cmos(10) & 0x80, 0u);
  advance(kSecond - 200'000);
  EXPECT_EQ(cmos(10) & 0x80, 0x80u);
  advance(200'000);
  EXPECT_EQ(cmos(10) & 0x80, 0u);
}

TEST_F(RtcTest, FlagsAreFoundWithoutInterrupts) {
  EXPECT_EQ(cmos(12), 0u);
  advance(kSecond);
  EXPECT_EQ(cmos(12), 0x50u);  // update and periodic
  EXPECT_EQ(cmos(12), 0u);
  EXPECT_FALSE(irq.level);
}

TEST_F(RtcTest, PeriodicInterruptNeedsRegisterCToComeAgain) {
  set_cmos(11, 0x42);
  advance(976'563);  // 1024 Hz
  EXPECT_TRUE(irq.level);
  advance(10 * 976'563);
  EXPECT_EQ(irq.rises, 1);
  EXPECT_EQ(cmos(12) & 0xc0, 0xc0u);
  EXPECT_FALSE(irq.level);
  advance(976'563);
  EXPECT_EQ(irq.rises, 2);
}

TEST_F(RtcTest, DueInterruptIsNotLostWhenARegisterIsWrittenFirst) {
  set_cmos(11, 0x42);
  clock.advance(976'563);
  set_cmos(10, 0x26);
  EXPECT_TRUE(irq.level);
}

TEST_F(RtcTest, UpdateInterruptComesEverySecond) {
  set_cmos(11, 0x12);
  advance(kSecond);
  EXPECT_TRUE(irq.level);
  EXPECT_EQ(cmos(12) & 0x90, 0x90u);
}

TEST_F(RtcTest, AlarmComesAtItsTimeOnly) {
  set_cmos(1, 0x02);
  set_cmos(3, 0x29);
  set_cmos(5, 0xff);  // any hour
  set_cmos(11, 0x22);
  for (int s = 0; s < 3; ++s) advance(kSecond);
  EXPECT_FALSE(irq.level);
  advance(kSecond);  // 12:29:02
  EXPECT_TRUE(irq.level);
  EXPECT_EQ(cmos(12) & 0xa0, 0xa0u);
}

TEST_F(RtcTest, MemorySizesAreInTheCmos) {
  EXPECT_EQ(cmos(0x15) | cmos(0x16) << 8, 640u);
  EXPECT_EQ(cmos(0x17) | cmos(0x18) << 8, 65535u);
  EXPECT_EQ(cmos(0x34) | cmos(0x35) << 8, (3072u - 16) * 16);
  EXPECT_EQ(cmos(0x5b) | cmos(0x5c) << 8 | cmos(0x5d) << 16, 1024u * 16);
  EXPECT_EQ(cmos(0x5f), 0u);
  EXPECT_EQ(cmos(0x10), 0u);
}

TEST_F(RtcTest, NmiBitDoesNotChangeTheIndex) {
  set_cmos(0x8f, 0x5a);
  EXPECT_EQ(cmos(0x0f), 0x5au);
}

TEST_F(RtcTest, ResetKeepsMemoryAndDropsInterrupts) {
  set_cmos(0x0f, 0x05);
  set_cmos(11, 0x72);
  advance(kSecond);
  rtc.reset();
  EXPECT_FALSE(irq.level);
  EXPECT_EQ(cmos(0x0f), 0x05u);
  EXPECT_EQ(cmos(11), 0x02u);
  EXPECT_EQ(cmos(13), 0x80u);
}

TEST_F(RtcTest, AbsurdDatesAreTaken) {
  set_cmos(11, 0x06);
  for (unsigned index : {0x32u, 9u, 8u, 7u, 4u, 2u, 0u}) set_cmos(index, 0xff);
  advance(kSecond);
  cmos(12);
  EXPECT_LT(cmos(0), 60u);
  EXPECT_LT(cmos(4), 24u);
}

}  // namespace
}  // namespace dejavm::devices
