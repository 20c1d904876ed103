#include "devices/piix4_pm.h"

#include <gtest/gtest.h>

#include "devices/pci_bus.h"
#include "fakes.h"

namespace dejavm::devices {
namespace {

constexpr TickRate kRate(Piix4Pm::kTimerHz);
constexpr uint64_t kBase = 0xb000;

class Piix4PmTest : public testing::Test, public DeviceFixture {
 protected:
  Piix4PmTest() {
    EXPECT_TRUE(pm.attach(bus).has_value());
    EXPECT_TRUE(pci.add(pm).has_value());
    pm.reset();
    pci.config_write(pm.function(), 0x40, 4, kBase | 1);
    pci.config_write(pm.function(), 0x80, 1, 1);
  }

  FakeIrq sci;
  FakePower power;
  PciBus pci;
  Piix4Pm pm{bus, timers, sci.line(), power.sink()};
};

TEST_F(Piix4PmTest, AnswersOnlyWhileEnabled) {
  EXPECT_EQ(in(kBase + 4, 2), 0u);
  pci.config_write(pm.function(), 0x80, 1, 0);
  EXPECT_EQ(in(kBase + 4, 2), 0xffffu);
  EXPECT_EQ(pci.config_read(pm.function(), 0x40, 4), kBase | 1);
}

TEST_F(Piix4PmTest, TimerCounts24BitsExactly) {
  advance(kRate.ns(1000));
  EXPECT_EQ(in(kBase + 8, 4), 1000u);
  advance(kRate.ns(0x1000005) - timers.now_ns());
  EXPECT_EQ(in(kBase + 8, 4), 5u);
}

TEST_F(Piix4PmTest, TimerCarryInterruptsUntilCleared) {
  out(kBase + 4, 0x0001, 2);
  out(kBase + 2, 0x0001, 2);
  advance(kRate.ns(0x800000) - 1);
  EXPECT_FALSE(sci.level);
  advance(1);
  EXPECT_TRUE(sci.level);
  EXPECT_EQ(in(kBase, 2), 1u);
  out(kBase, 0x0001, 2);
  EXPECT_FALSE(sci.level);
  EXPECT_EQ(timers.next_deadline_ns(), kRate.ns(0x1000000));
}

TEST_F(Piix4PmTest, NoSciBeforeAcpiIsEnabled) {
  out(kBase + 2, 0x0001, 2);
  advance(kRate.ns(0x800000));
  EXPECT_FALSE(sci.level);
  out(0xb2, 0xf1);
  EXPECT_TRUE(sci.level);
  EXPECT_EQ(in(kBase + 4, 2), 1u);
  out(0xb2, 0xf0);
  EXPECT_EQ(in(kBase + 4, 2), 0u);
}

TEST_F(Piix4PmTest, SleepTypeZeroSwitchesOff) {
  out(kBase + 4, 0x0400, 2);
  out(kBase + 4, 0x2400, 2);
  EXPECT_TRUE(power.events.empty());  // S3 does not exist
  out(kBase + 4, 0x2000, 2);
  ASSERT_EQ(power.events.size(), 1u);
  EXPECT_EQ(power.events[0].kind, vm::PowerEvent::Kind::power_off);
  EXPECT_EQ(in(kBase + 4, 2), 0u);  // SLP_EN reads as zero
}

TEST_F(Piix4PmTest, SmiSetUpIsAlreadyDone) { EXPECT_EQ(pci.config_read(pm.function(), 0x58, 4), 0x02000000u); }

TEST_F(Piix4PmTest, GeneralPurposeEventsNeverHappen) {
  out(0xafe2, 0xffff, 2);
  EXPECT_EQ(in(0xafe0, 4), 0u);
}

TEST_F(Piix4PmTest, BaseOverAnotherDeviceStaysOff) {
  pci.config_write(pm.function(), 0x40, 4, 0xaf80 | 1);
  EXPECT_EQ(in(0xaf80, 2), 0u);
  pci.config_write(pm.function(), 0x40, 4, 0xafc0 | 1);  // would cover the event block
  EXPECT_EQ(in(0xafc0, 2), 0xffffu);
  EXPECT_EQ(in(0xafe0, 4), 0u);
}

}  // namespace
}  // namespace dejavm::devices
