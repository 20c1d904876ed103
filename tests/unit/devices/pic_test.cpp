#include "devices/pic.h"

#include <gtest/gtest.h>

#include "fakes.h"

namespace dejavm::devices {
namespace {

class PicTest : public testing::Test, public DeviceFixture {
 protected:
  PicTest() {
    EXPECT_TRUE(pic.attach(bus).has_value());
    pic.reset();
    init(0x01);
  }

  /// ICW1 to ICW4 as PC firmware writes them: vectors 0x08 and 0x70, cascade on line 2; nothing masked.
  void init(uint8_t icw4) {
    for (unsigned base : {0x20u, 0xa0u}) {
      out(base, 0x11);
      out(base + 1, base == 0x20 ? 0x08 : 0x70);
      out(base + 1, base == 0x20 ? 0x04 : 0x02);
      out(base + 1, icw4);
      out(base + 1, 0x00);
    }
  }
  void pulse(unsigned line) {
    pic.set_line(line, false);
    pic.set_line(line, true);
  }
  uint8_t isr(unsigned base) {
    out(base, 0x0b);
    return static_cast<uint8_t>(in(base));
  }
  uint8_t irr(unsigned base) {
    out(base, 0x0a);
    return static_cast<uint8_t>(in(base));
  }

  Pic pic;
};

TEST_F(PicTest, NothingIsServedBeforeInitialisation) {
  Pic fresh;
  fresh.reset();
  fresh.set_line(4, true);
  EXPECT_FALSE(fresh.pending());
}

TEST_F(PicTest, EdgeIsServedOnce) {
  pulse(4);
  ASSERT_TRUE(pic.pending());
  EXPECT_EQ(pic.acknowledge(), 0x0c);
  EXPECT_EQ(isr(0x20), 0x10);
  out(0x20, 0x20);
  EXPECT_FALSE(pic.pending());
  EXPECT_EQ(isr(0x20), 0x00);
}

TEST_F(PicTest, EdgeIsLostWhenTheLineFallsBeforeAcknowledge) {
  pulse(4);
  pic.set_line(4, false);
  EXPECT_FALSE(pic.pending());
  EXPECT_EQ(pic.acknowledge(), 0x0f);  // spurious IRQ 7
  EXPECT_EQ(isr(0x20), 0x00);
}

TEST_F(PicTest, LevelRequestsAgainUntilTheLineFalls) {
  out(0x4d1, 0x0c);  // lines 10 and 11
  pic.set_line(10, true);
  EXPECT_EQ(pic.acknowledge(), 0x72);
  out(0xa0, 0x20);
  out(0x20, 0x20);
  EXPECT_TRUE(pic.pending());
  pic.set_line(10, false);
  EXPECT_FALSE(pic.pending());
}

TEST_F(PicTest, ElcrHasNoBitsForTheTimerKeyboardAndClock) {
  out(0x4d0, 0xff);
  out(0x4d1, 0xff);
  EXPECT_EQ(in(0x4d0), 0xf8u);
  EXPECT_EQ(in(0x4d1), 0xdeu);
}

TEST_F(PicTest, LowerLineNumbersComeFirstAndNest) {
  pulse(5);
  pulse(3);
  EXPECT_EQ(pic.acknowledge(), 0x0b);
  EXPECT_FALSE(pic.pending());  // 5 waits for 3
  pulse(1);
  EXPECT_EQ(pic.acknowledge(), 0x09);  // 1 interrupts 3
  EXPECT_EQ(isr(0x20), 0x0a);
  out(0x20, 0x20);  // ends the highest: 1
  EXPECT_EQ(isr(0x20), 0x08);
  out(0x20, 0x20);
  EXPECT_EQ(pic.acknowledge(), 0x0d);
}

TEST_F(PicTest, SpecificEoiEndsTheNamedLine) {
  pulse(5);
  pic.acknowledge();
  pulse(1);
  pic.acknowledge();
  out(0x20, 0x65);
  EXPECT_EQ(isr(0x20), 0x02);
}

TEST_F(PicTest, MaskHidesARequestAndKeepsIt) {
  out(0x21, 0x10);
  pulse(4);
  EXPECT_FALSE(pic.pending());
  EXPECT_EQ(irr(0x20), 0x10);
  EXPECT_EQ(in(0x21), 0x10u);
  out(0x21, 0x00);
  EXPECT_TRUE(pic.pending());
}

TEST_F(PicTest, SlaveInterruptsThroughTheCascade) {
  pulse(8);
  EXPECT_EQ(pic.acknowledge(), 0x70);
  EXPECT_EQ(isr(0x20), 0x04);
  EXPECT_EQ(isr(0xa0), 0x01);
}

TEST_F(PicTest, SecondSlaveRequestFollowsTheEoiOfTheFirst) {
  pulse(8);
  pulse(12);
  EXPECT_EQ(pic.acknowledge(), 0x70);
  out(0xa0, 0x20);
  out(0x20, 0x20);
  ASSERT_TRUE(pic.pending());
  EXPECT_EQ(pic.acknowledge(), 0x74);
}

TEST_F(PicTest, SpecialFullyNestedLetsAHigherSlaveRequestIn) {
  init(0x11);
  pulse(12);
  EXPECT_EQ(pic.acknowledge(), 0x74);
  pulse(8);
  ASSERT_TRUE(pic.pending());
  EXPECT_EQ(pic.acknowledge(), 0x70);
}

TEST_F(PicTest, AutoEoiLeavesNothingInService) {
  init(0x03);
  pulse(8);
  pulse(12);
  EXPECT_EQ(pic.acknowledge(), 0x70);
  EXPECT_EQ(isr(0x20), 0x00);
  EXPECT_EQ(pic.acknowledge(), 0x74);
}

TEST_F(PicTest, RotationMovesTheServedLineToTheEnd) {
  pulse(3);
  pic.acknowledge();
  out(0x20, 0xa0);  // rotate on non-specific EOI: 4 is now first, 3 last
  pulse(3);
  pulse(0);
  pulse(4);
  EXPECT_EQ(pic.acknowledge(), 0x0c);
  out(0x20, 0x64);
  EXPECT_EQ(pic.acknowledge(), 0x08);
}

TEST_F(PicTest, SetPriorityCommandChoosesTheLowestLine) {
  out(0x20, 0xc4);  // 4 lowest, 5 highest
  pulse(0);
  pulse(5);
  EXPECT_EQ(pic.acknowledge(), 0x0d);
}

TEST_F(PicTest, SpecialMaskModeEnablesLowerLinesDuringService) {
  pulse(3);
  pic.acknowledge();
  out(0x21, 0x08);
  pulse(5);
  EXPECT_FALSE(pic.pending());
  out(0x20, 0x68);  // set special mask mode
  EXPECT_TRUE(pic.pending());
  out(0x20, 0x48);  // and leave it
  EXPECT_FALSE(pic.pending());
}

TEST_F(PicTest, PollServesWithoutAVector) {
  pulse(4);
  out(0x20, 0x0c);
  EXPECT_EQ(in(0x20), 0x84u);
  EXPECT_FALSE(pic.pending());
  out(0x20, 0x0c);
  EXPECT_EQ(in(0x20), 0x00u);
}

TEST_F(PicTest, WideAccessesAreSplitIntoBytes) {
  out(0x20, 0xfb0a, 2);  // OCW3 to 0x20, mask to 0x21
  EXPECT_EQ(in(0x21), 0xfbu);
}

}  // namespace
}  // namespace dejavm::devices
