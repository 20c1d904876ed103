#include "devices/pit.h"

#include <gtest/gtest.h>

#include "fakes.h"

namespace dejavm::devices {
namespace {

constexpr TickRate kRate(Pit::kHz);

class PitTest : public testing::Test, public DeviceFixture {
 protected:
  PitTest() { EXPECT_TRUE(pit.attach(bus).has_value()); }

  /// Moves the clock to `ticks` ticks after the start.
  void at_tick(uint64_t ticks) { advance(kRate.ns(ticks) - timers.now_ns()); }
  void program(unsigned counter, unsigned mode, unsigned count, bool bcd = false) {
    out(0x43, counter << 6 | 0x30 | mode << 1 | (bcd ? 1 : 0));
    out(0x40 + counter, count & 0xff);
    out(0x40 + counter, count >> 8);
  }
  unsigned count(unsigned counter) {
    out(0x43, counter << 6);
    unsigned low = static_cast<unsigned>(in(0x40 + counter));
    return low | static_cast<unsigned>(in(0x40 + counter)) << 8;
  }
  bool out2() { return (in(0x61) & 0x20) != 0; }

  FakeIrq irq;
  Pit pit{timers, irq.line()};
};

TEST_F(PitTest, RateGeneratorInterruptsOncePerPeriod) {
  program(0, 2, 1000);
  irq.rises = 0;
  at_tick(999);
  EXPECT_EQ(irq.rises, 0);
  at_tick(1000);
  EXPECT_EQ(irq.rises, 1);
  at_tick(2000);
  EXPECT_EQ(irq.rises, 2);
}

TEST_F(PitTest, PeriodsDoNotDrift) {
  program(0, 2, 1193);
  irq.rises = 0;
  for (uint64_t tick = 1193; tick <= 1193 * 1000; tick += 1193) at_tick(tick);
  EXPECT_EQ(irq.rises, 1000);
  EXPECT_EQ(timers.next_deadline_ns(), kRate.ns(1193 * 1001));
}

TEST_F(PitTest, MissedPeriodsMakeOneEdge) {
  program(0, 2, 1000);
  irq.rises = 0;
  at_tick(5500);
  EXPECT_EQ(irq.rises, 1);
  EXPECT_EQ(timers.next_deadline_ns(), kRate.ns(6000));
}

TEST_F(PitTest, TerminalCountInterruptsOnce) {
  program(0, 0, 100);
  EXPECT_FALSE(irq.level);
  at_tick(99);
  EXPECT_FALSE(irq.level);
  at_tick(100);
  EXPECT_TRUE(irq.level);
  EXPECT_FALSE(timers.next_deadline_ns().has_value());
}

TEST_F(PitTest, LatchedCountStandsStill) {
  program(0, 2, 1000);
  at_tick(10);
  out(0x43, 0x00);
  at_tick(20);
  EXPECT_EQ(in(0x40), 990 & 0xffu);
  EXPECT_EQ(in(0x40), 990u >> 8);
  EXPECT_EQ(count(0), 980u);
}

TEST_F(PitTest, SquareWaveCountsByTwo) {
  program(0, 3, 1000);
  at_tick(100);
  EXPECT_EQ(count(0), 800u);
  at_tick(500);
  EXPECT_EQ(count(0), 1000u);
}

TEST_F(PitTest, OddSquareWaveIsLongerHigh) {
  out(0x61, 0x01);
  program(2, 3, 5);
  at_tick(2);
  EXPECT_TRUE(out2());
  at_tick(3);
  EXPECT_FALSE(out2());
  at_tick(5);
  EXPECT_TRUE(out2());
}

TEST_F(PitTest, ReadBackGivesStatusThenCount) {
  program(0, 2, 0x1234);
  at_tick(4);
  out(0x43, 0xc2);
  EXPECT_EQ(in(0x40), 0xb4u);  // OUT high, both bytes, mode 2
  EXPECT_EQ(in(0x40), 0x30u);
  EXPECT_EQ(in(0x40), 0x12u);
}

TEST_F(PitTest, StatusSaysThatNoCountWasLoaded) {
  out(0x43, 0x34);
  out(0x43, 0xe2);
  EXPECT_EQ(in(0x40) & 0x40, 0x40u);
}

TEST_F(PitTest, NewCountInModeTwoWaitsForThePeriod) {
  program(0, 2, 1000);
  at_tick(400);
  out(0x40, 100);
  out(0x40, 0);
  EXPECT_EQ(count(0), 600u);
  at_tick(1010);
  EXPECT_EQ(count(0), 90u);
}

TEST_F(PitTest, GateOfCounterTwoStopsModeZero) {
  out(0x61, 0x00);
  program(2, 0, 100);
  at_tick(50);
  EXPECT_EQ(count(2), 100u);
  out(0x61, 0x01);
  at_tick(149);
  EXPECT_FALSE(out2());
  at_tick(150);
  EXPECT_TRUE(out2());
}

TEST_F(PitTest, OneShotStartsWithTheGateAndCanBeTriggeredAgain) {
  program(2, 1, 10);
  EXPECT_TRUE(out2());
  out(0x61, 0x01);
  EXPECT_FALSE(out2());
  at_tick(5);
  out(0x61, 0x00);
  out(0x61, 0x01);
  at_tick(14);
  EXPECT_FALSE(out2());
  at_tick(15);
  EXPECT_TRUE(out2());
}

TEST_F(PitTest, StrobesAreOneTickLow) {
  out(0x61, 0x01);
  program(2, 4, 10);
  at_tick(9);
  EXPECT_TRUE(out2());
  at_tick(10);
  EXPECT_FALSE(out2());
  at_tick(11);
  EXPECT_TRUE(out2());
  program(2, 5, 10);
  at_tick(40);
  EXPECT_TRUE(out2());
  out(0x61, 0x00);
  out(0x61, 0x01);
  at_tick(50);
  EXPECT_FALSE(out2());
}

TEST_F(PitTest, BcdCountsInDecimal) {
  program(0, 2, 0x1000, true);
  at_tick(1);
  EXPECT_EQ(count(0), 0x999u);
}

TEST_F(PitTest, ZeroMeansTheLongestCount) {
  program(0, 2, 0);
  irq.rises = 0;
  at_tick(65535);
  EXPECT_EQ(irq.rises, 0);
  at_tick(65536);
  EXPECT_EQ(irq.rises, 1);
}

TEST_F(PitTest, SingleByteAccessModes) {
  out(0x43, 0x14);  // low byte only, mode 2
  out(0x40, 50);
  at_tick(10);
  EXPECT_EQ(in(0x40), 40u);
  out(0x43, 0x24);  // high byte only
  out(0x40, 2);
  EXPECT_EQ(in(0x40), 2u);
}

TEST_F(PitTest, RefreshBitToggles) {
  uint64_t before = in(0x61) & 0x10;
  advance(15085);
  EXPECT_NE(in(0x61) & 0x10, before);
}

}  // namespace
}  // namespace dejavm::devices
