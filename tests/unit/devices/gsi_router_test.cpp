#include "devices/gsi_router.h"

#include <gtest/gtest.h>

#include <vector>

#include "fakes.h"

namespace dejavm::devices {
namespace {

/// Both controllers with pin n of the IOAPIC at vector 0x40 + n and the 8259's line n at 0x20 + n, all unmasked.
class GsiRouterTest : public testing::Test, public DeviceFixture {
 protected:
  GsiRouterTest() {
    EXPECT_TRUE(pic.attach(bus).has_value() && ioapic.attach(bus).has_value());
    pic.reset();
    for (unsigned base : {0x20u, 0xa0u}) {
      for (unsigned word : {0x11u, base == 0x20 ? 0x20u : 0x28u, base == 0x20 ? 4u : 2u, 1u, 0u}) {
        out(word == 0x11 ? base : base + 1, word);
      }
    }
    for (unsigned pin = 0; pin < IoApic::kPins; ++pin) {
      store(IoApic::kBase, 0x10 + 2 * pin, 4);
      store(IoApic::kBase + 0x10, 0x40 + pin, 4);
    }
  }
  std::vector<uint8_t> sent;
  FakeIrq intr;
  IoApic ioapic{[this](const ApicMessage& message) { sent.push_back(message.vector); }};
  Pic pic{intr.line()};
  GsiRouter router{pic, ioapic};
};

TEST_F(GsiRouterTest, AnIsaLineReachesBoth) {
  router.set_line(4, true);
  EXPECT_EQ(sent, (std::vector<uint8_t>{0x44}));
  EXPECT_TRUE(intr.level);
  EXPECT_EQ(pic.acknowledge(), 0x24);
  EXPECT_FALSE(intr.level);
}

TEST_F(GsiRouterTest, LinesOfTheSlaveRaiseIntrToo) {
  router.set_line(12, true);
  EXPECT_TRUE(intr.level);
  EXPECT_EQ(pic.acknowledge(), 0x2c);
  EXPECT_FALSE(intr.level);
}

TEST_F(GsiRouterTest, TheTimerIsPinTwo) {
  router.set_line(0, true);
  EXPECT_EQ(sent, (std::vector<uint8_t>{0x42}));
  EXPECT_EQ(pic.acknowledge(), 0x20);
}

TEST_F(GsiRouterTest, LineTwoSharesThePinAndNoLineOfThe8259) {
  router.set_line(2, true);
  EXPECT_EQ(sent, (std::vector<uint8_t>{0x42}));
  EXPECT_FALSE(intr.level);
  router.set_line(0, true);
  router.set_line(2, false);
  EXPECT_EQ(sent.size(), 1u);
  router.set_line(0, false);
  router.set_line(2, true);
  EXPECT_EQ(sent.size(), 2u);
}

TEST_F(GsiRouterTest, HighLinesAreTheIoApicsAlone) {
  router.set_line(23, true);
  EXPECT_EQ(sent, (std::vector<uint8_t>{0x57}));
  EXPECT_FALSE(intr.level);
}

}  // namespace
}  // namespace dejavm::devices
