#include "devices/local_apic.h"

#include <gtest/gtest.h>

#include <vector>

#include "fakes.h"

namespace dejavm::devices {
namespace {

constexpr uint64_t kId = 0x20, kVersion = 0x30, kTpr = 0x80, kPpr = 0xa0, kEoi = 0xb0, kLdr = 0xd0, kDfr = 0xe0, kSvr = 0xf0,
                   kIsr = 0x100, kTmr = 0x180, kIrr = 0x200, kEsr = 0x280, kIcrLow = 0x300, kIcrHigh = 0x310,
                   kLvtTimer = 0x320, kLvtLint0 = 0x350, kLvtError = 0x370, kInitial = 0x380, kCurrent = 0x390,
                   kDivide = 0x3e0;
constexpr uint64_t kMasked = 1 << 16, kPeriodic = 1 << 17, kExternal = 7 << 8, kBy1 = 0xb, kBy2 = 0, kBy16 = 3;

class LocalApicTest : public testing::Test, public DeviceFixture {
 protected:
  LocalApicTest() {
    EXPECT_TRUE(apic.attach(bus).has_value());
    write(kSvr, 0x1ff);
  }
  uint64_t read(uint64_t offset) { return load(LocalApic::kBase + offset, 4); }
  void write(uint64_t offset, uint64_t value) { store(LocalApic::kBase + offset, value, 4); }
  void message(uint8_t vector, bool level = false) { apic.receive({.vector = vector, .level = level}); }
  /// The vector that enters; 0 where none is pending.
  int acknowledge() { return apic.pending() ? apic.acknowledge() : 0; }

  std::vector<uint8_t> ended;
  LocalApic apic{timers, [this](uint8_t vector) { ended.push_back(vector); }};
};

TEST_F(LocalApicTest, LooksLikeQemusAfterReset) {
  apic.reset();
  EXPECT_EQ(read(kId), 0u);
  EXPECT_EQ(read(kVersion), 0x50014u);
  EXPECT_EQ(read(kSvr), 0xffu);
  EXPECT_EQ(read(kDfr), 0xffffffffu);
  EXPECT_EQ(read(kLvtTimer), kMasked);
  EXPECT_EQ(read(kLvtLint0), kExternal);
  EXPECT_EQ(read(kLvtError), kMasked);
  EXPECT_FALSE(apic.pending());
}

TEST_F(LocalApicTest, ShowsWhatTheGuestWrote) {
  write(kId, 0x05000000);
  write(kLdr, 0xaa000000);
  write(kDfr, 0x0fffffff);
  write(kIcrHigh, 0x12345678);
  EXPECT_EQ(read(kId), 0x05000000u);
  EXPECT_EQ(read(kLdr), 0xaa000000u);
  EXPECT_EQ(read(kDfr), 0x0fffffffu);
  EXPECT_EQ(read(kIcrHigh), 0x12000000u);
}

TEST_F(LocalApicTest, NarrowAccessesDoNothing) {
  store(LocalApic::kBase + kTpr, 0x20, 1);
  EXPECT_EQ(read(kTpr), 0u);
  write(kTpr, 0x20);
  EXPECT_EQ(load(LocalApic::kBase + kTpr, 2), 0u);
}

TEST_F(LocalApicTest, AMessageEntersAndIsInServiceUntilItsEnd) {
  message(0x41);
  EXPECT_EQ(read(kIrr + 0x20), 2u);
  EXPECT_EQ(acknowledge(), 0x41);
  EXPECT_EQ(read(kIrr + 0x20), 0u);
  EXPECT_EQ(read(kIsr + 0x20), 2u);
  EXPECT_EQ(read(kPpr), 0x40u);
  write(kEoi, 0);
  EXPECT_EQ(read(kIsr + 0x20), 0u);
  EXPECT_EQ(read(kPpr), 0u);
}

TEST_F(LocalApicTest, HigherVectorsEnterFirst) {
  message(0x31);
  message(0x93);
  message(0x90);
  EXPECT_EQ(acknowledge(), 0x93);
  EXPECT_EQ(acknowledge(), 0);  // 0x90 is of the class in service
  write(kEoi, 0);
  EXPECT_EQ(acknowledge(), 0x90);
  write(kEoi, 0);
  EXPECT_EQ(acknowledge(), 0x31);
}

TEST_F(LocalApicTest, AHigherClassInterruptsALowerOne) {
  message(0x31);
  EXPECT_EQ(acknowledge(), 0x31);
  message(0x41);
  EXPECT_EQ(acknowledge(), 0x41);
  write(kEoi, 0);
  EXPECT_EQ(read(kPpr), 0x30u);
}

TEST_F(LocalApicTest, TheTaskPriorityHoldsItsClassBack) {
  write(kTpr, 0x45);
  message(0x4f);
  EXPECT_FALSE(apic.pending());
  EXPECT_EQ(read(kPpr), 0x45u);
  message(0x50);
  EXPECT_EQ(acknowledge(), 0x50);
  write(kEoi, 0);
  write(kTpr, 0x3f);
  EXPECT_EQ(acknowledge(), 0x4f);
}

TEST_F(LocalApicTest, TheSameVectorWaitsOnce) {
  message(0x41);
  message(0x41);
  EXPECT_EQ(acknowledge(), 0x41);
  message(0x41);
  write(kEoi, 0);
  EXPECT_EQ(acknowledge(), 0x41);
  write(kEoi, 0);
  EXPECT_EQ(acknowledge(), 0);
}

TEST_F(LocalApicTest, OnlyLevelsTellTheirEnd) {
  message(0x41, true);
  message(0x51);
  EXPECT_EQ(read(kTmr + 0x20), 2u);
  acknowledge();
  write(kEoi, 0);
  EXPECT_TRUE(ended.empty());
  acknowledge();
  write(kEoi, 0);
  EXPECT_EQ(ended, (std::vector<uint8_t>{0x41}));
}

TEST_F(LocalApicTest, AnEndWithNothingInServiceIsNone) {
  write(kEoi, 0);
  EXPECT_TRUE(ended.empty());
  EXPECT_FALSE(apic.pending());
}

TEST_F(LocalApicTest, ADisabledOneTakesNothing) {
  write(kSvr, 0xff);
  message(0x41);
  write(kSvr, 0x1ff);
  EXPECT_FALSE(apic.pending());
}

TEST_F(LocalApicTest, DisablingMasksItsOwnInterrupts) {
  write(kLvtTimer, 0x41);
  write(kSvr, 0xff);
  write(kSvr, 0x1ff);
  EXPECT_EQ(read(kLvtTimer), kMasked | 0x41);
  EXPECT_FALSE(apic.passes_external());
}

TEST_F(LocalApicTest, WhileDisabledNothingCanBeUnmaskedButLint0) {
  write(kSvr, 0xff);
  write(kLvtTimer, 0x41);
  write(kLvtLint0, kExternal);
  EXPECT_EQ(read(kLvtTimer), kMasked | 0x41);
  EXPECT_EQ(read(kLvtLint0), kExternal);
}

TEST_F(LocalApicTest, Lint0LetsThe8259Through) {
  EXPECT_TRUE(apic.passes_external());
  write(kLvtLint0, kExternal | kMasked);
  EXPECT_FALSE(apic.passes_external());
  write(kLvtLint0, 0x41);
  EXPECT_FALSE(apic.passes_external());
}

TEST_F(LocalApicTest, Lint0InFixedModeIsAVector) {
  write(kLvtLint0, 0x41);
  apic.set_line(0, true);
  apic.set_line(0, true);
  EXPECT_EQ(acknowledge(), 0x41);
  write(kEoi, 0);
  EXPECT_EQ(acknowledge(), 0);
  apic.set_line(0, false);
  apic.set_line(0, true);
  EXPECT_EQ(acknowledge(), 0x41);
}

TEST_F(LocalApicTest, IllegalVectorsAreErrors) {
  message(0x0f);
  EXPECT_FALSE(apic.pending());
  EXPECT_EQ(read(kEsr), 0u);  // until it is written
  write(kEsr, 0);
  EXPECT_EQ(read(kEsr), 0x40u);
  write(kIcrLow, 0x4000f);
  write(kEsr, 0);
  EXPECT_EQ(read(kEsr), 0x20u);
  write(kEsr, 0);
  EXPECT_EQ(read(kEsr), 0u);
}

TEST_F(LocalApicTest, ErrorsInterruptOnceUntilTheyAreRead) {
  write(kLvtError, 0xfe);
  read(0x40);
  EXPECT_EQ(acknowledge(), 0xfe);
  write(kEoi, 0);
  read(0x40);
  EXPECT_EQ(acknowledge(), 0);
  write(kEsr, 0);
  EXPECT_EQ(read(kEsr), 0x80u);
  read(0x40);
  EXPECT_EQ(acknowledge(), 0xfe);
}

TEST_F(LocalApicTest, AnErrorInterruptWithAnIllegalVectorIsOnlyAnError) {
  write(kLvtError, 0x05);
  message(0x01);
  write(kEsr, 0);
  EXPECT_EQ(read(kEsr), 0x40u);
}

TEST_F(LocalApicTest, SendsToItself) {
  write(kIcrLow, 0x40041);  // shorthand: self
  EXPECT_EQ(acknowledge(), 0x41);
  write(kIcrLow, 0x80042);  // all with self
  EXPECT_EQ(acknowledge(), 0);
  write(kEoi, 0);
  EXPECT_EQ(acknowledge(), 0x42);
}

TEST_F(LocalApicTest, OthersAreNotThere) {
  write(kIcrLow, 0xc0041);  // all but self
  write(kIcrHigh, 0x01000000);
  write(kIcrLow, 0x42);
  EXPECT_FALSE(apic.pending());
}

TEST_F(LocalApicTest, InitAndStartUpToItselfAreDropped) {
  for (uint64_t mode : {2u, 4u, 5u, 6u, 7u}) write(kIcrLow, 0x40041 | mode << 8);
  EXPECT_FALSE(apic.pending());
}

TEST_F(LocalApicTest, PhysicalDestinationsAreItsIdAndEverybody) {
  write(kId, 0x03000000);
  for (unsigned destination : {0u, 2u, 4u}) apic.receive({.destination = static_cast<uint8_t>(destination), .vector = 0x41});
  EXPECT_FALSE(apic.pending());
  apic.receive({.destination = 3, .vector = 0x41});
  EXPECT_EQ(acknowledge(), 0x41);
  apic.receive({.destination = 0xff, .vector = 0x51});
  EXPECT_EQ(acknowledge(), 0x51);
}

TEST_F(LocalApicTest, FlatLogicalDestinationsAreSets) {
  write(kLdr, 0x02000000);
  apic.receive({.destination = 0xfd, .logical = true, .vector = 0x41});
  EXPECT_FALSE(apic.pending());
  apic.receive({.destination = 0x06, .logical = true, .mode = DeliveryMode::lowest_priority, .vector = 0x41});
  EXPECT_EQ(acknowledge(), 0x41);
}

TEST_F(LocalApicTest, ALogicalBroadcastReachesIt) {
  apic.receive({.destination = 0xff, .logical = true, .vector = 0x41});
  EXPECT_EQ(acknowledge(), 0x41);
}

TEST_F(LocalApicTest, ClustersHaveMembers) {
  write(kDfr, 0x0fffffff);
  write(kLdr, 0x31000000);
  apic.receive({.destination = 0x21, .logical = true, .vector = 0x41});
  apic.receive({.destination = 0x32, .logical = true, .vector = 0x41});
  EXPECT_FALSE(apic.pending());
  apic.receive({.destination = 0x33, .logical = true, .vector = 0x41});
  EXPECT_EQ(acknowledge(), 0x41);
}

TEST_F(LocalApicTest, TheTimerCountsDownOnce) {
  write(kDivide, kBy1);
  write(kLvtTimer, 0x41);
  write(kInitial, 1000);
  advance(400);
  EXPECT_EQ(read(kCurrent), 600u);
  EXPECT_FALSE(apic.pending());
  advance(600);
  EXPECT_EQ(read(kCurrent), 0u);
  EXPECT_EQ(acknowledge(), 0x41);
  write(kEoi, 0);
  advance(5000);
  EXPECT_EQ(acknowledge(), 0);
  EXPECT_EQ(read(kInitial), 1000u);
}

TEST_F(LocalApicTest, ThePeriodicTimerStartsAgain) {
  write(kDivide, kBy16);
  write(kLvtTimer, kPeriodic | 0x41);
  write(kInitial, 1000);
  for (int round = 0; round < 3; ++round) {
    advance(15999);
    EXPECT_EQ(acknowledge(), 0);
    advance(1);
    EXPECT_EQ(acknowledge(), 0x41);
    EXPECT_EQ(read(kCurrent), 1000u);
    write(kEoi, 0);
  }
  write(kInitial, 0);
  advance(100000);
  EXPECT_EQ(acknowledge(), 0);
}

TEST_F(LocalApicTest, RoundsThatWereMissedInterruptOnce) {
  write(kDivide, kBy2);
  write(kLvtTimer, kPeriodic | 0x41);
  write(kInitial, 50000);
  advance(350000);
  EXPECT_EQ(acknowledge(), 0x41);
  write(kEoi, 0);
  EXPECT_EQ(acknowledge(), 0);
  EXPECT_EQ(read(kCurrent), 25000u);
  advance(50000);
  EXPECT_EQ(acknowledge(), 0x41);
}

TEST_F(LocalApicTest, AMaskedTimerCountsInSilence) {
  write(kDivide, kBy1);
  write(kLvtTimer, kMasked | 0x41);
  write(kInitial, 100000);
  EXPECT_FALSE(timers.next_deadline_ns().has_value());
  advance(40000);
  write(kLvtTimer, 0x41);
  EXPECT_EQ(read(kCurrent), 60000u);
  advance(60000);
  EXPECT_EQ(acknowledge(), 0x41);
}

TEST_F(LocalApicTest, AnotherDivisorGoesOnFromTheCount) {
  write(kDivide, kBy1);
  write(kInitial, 1000);
  advance(400);
  write(kDivide, kBy2);
  EXPECT_EQ(read(kDivide), 0u);
  EXPECT_EQ(read(kCurrent), 600u);
  advance(200);
  EXPECT_EQ(read(kCurrent), 500u);
}

TEST_F(LocalApicTest, AHostilePeriodLeavesTimeForTheGuest) {
  write(kDivide, kBy1);
  write(kLvtTimer, kPeriodic | 0x41);
  write(kInitial, 1);
  ASSERT_TRUE(timers.next_deadline_ns().has_value());
  EXPECT_GE(*timers.next_deadline_ns(), ApicTimer::kShortestNs);
}

TEST_F(LocalApicTest, ResetStopsTheTimer) {
  write(kLvtTimer, kPeriodic | 0x41);
  write(kInitial, 1000);
  apic.reset();
  EXPECT_FALSE(timers.next_deadline_ns().has_value());
  EXPECT_EQ(read(kCurrent), 0u);
}

TEST(ApicMessages, AreDecodedFromMsi) {
  ApicMessage message = message_of_msi(0xfee0300c, 0x8141);
  EXPECT_EQ(message.destination, 3);
  EXPECT_TRUE(message.logical);
  EXPECT_EQ(message.mode, DeliveryMode::lowest_priority);
  EXPECT_EQ(message.vector, 0x41);
  EXPECT_TRUE(message.level);
}

}  // namespace
}  // namespace dejavm::devices
