#include "devices/hpet.h"

#include <gtest/gtest.h>

#include "fakes.h"

namespace dejavm::devices {
namespace {

constexpr uint64_t kBase = 0xfed00000;
constexpr uint64_t kConfig = 0x10, kStatus = 0x20, kCounter = 0xf0;
constexpr uint64_t kOn = 1, kLegacy = 2;
constexpr uint64_t kLevel = 1u << 1, kInterrupts = 1u << 2, kPeriodic = 1u << 3, kSetValue = 1u << 6, k32Bit = 1u << 8,
                   kPin2 = 2u << 9;
constexpr uint64_t kWrap = uint64_t{1} << 32;

constexpr uint64_t timer_config(unsigned timer) { return 0x100 + 0x20 * timer; }
constexpr uint64_t comparator(unsigned timer) { return 0x108 + 0x20 * timer; }

class HpetTest : public testing::Test, public DeviceFixture {
 protected:
  HpetTest() { EXPECT_TRUE(hpet.attach(bus).has_value()); }
  uint64_t get(uint64_t offset, unsigned size = 8) { return load(kBase + offset, size); }
  void set(uint64_t offset, uint64_t value, unsigned size = 8) { store(kBase + offset, value, size); }
  void advance_ticks(uint64_t ticks) { advance(ticks * 10); }
  /// As Linux does: comparator, then period.
  void start_periodic(unsigned timer, uint64_t first, uint64_t period, uint64_t more = 0) {
    set(timer_config(timer), kInterrupts | kPeriodic | kSetValue | more);
    set(comparator(timer), first);
    set(comparator(timer), period);
  }

  FakeIrq irq0, irq8, pin2;
  Hpet hpet{timers, irq0.line(), irq8.line(), pin2.line()};
};

TEST_F(HpetTest, LooksLikeQemus) {
  EXPECT_EQ(get(0), 0x009896808086a201u);
  EXPECT_EQ(get(4, 4), 10'000'000u);
  for (unsigned timer = 0; timer < 3; ++timer) {
    EXPECT_EQ(get(timer_config(timer)), 0x400000030u);
    EXPECT_EQ(get(comparator(timer)), UINT64_MAX);
    EXPECT_EQ(get(comparator(timer) + 8), 0u) << "no messages";
  }
  EXPECT_EQ(get(timer_config(3)), 0u);
  EXPECT_EQ(get(0x3f8), 0u);
}

TEST_F(HpetTest, CounterRunsAtAHundredMegahertzWhileEnabled) {
  advance(1000);
  EXPECT_EQ(get(kCounter), 0u);
  set(kCounter, 0xfffffff0);
  set(kConfig, kOn);
  advance(159);
  EXPECT_EQ(get(kCounter), 0xffffffffu);
  advance(1);
  EXPECT_EQ(get(kCounter), kWrap);
  EXPECT_EQ(get(kCounter, 4), 0u);
  EXPECT_EQ(get(kCounter + 4, 4), 1u);

  set(kCounter, 5);
  EXPECT_EQ(get(kCounter), kWrap) << "written only while it stands";
  set(kConfig, 0);
  advance(1000);
  EXPECT_EQ(get(kCounter), kWrap);
  set(kCounter + 4, 7, 4);
  EXPECT_EQ(get(kCounter), 7 * kWrap);
}

TEST_F(HpetTest, OneShotFiresOnce) {
  set(kConfig, kOn);
  advance_ticks(100);
  set(timer_config(0), kInterrupts | kPin2);
  set(comparator(0), 150);

  advance_ticks(49);
  EXPECT_EQ(pin2.rises, 0);
  advance_ticks(1);
  EXPECT_EQ(pin2.rises, 1);
  advance_ticks(100000);
  EXPECT_EQ(pin2.rises, 1);
  EXPECT_EQ(get(kStatus), 0u) << "edges leave no status";
  EXPECT_EQ(irq0.rises + irq8.rises, 0);
}

TEST_F(HpetTest, OneShotBehindTheCounterFiresAtOnce) {
  set(kConfig, kOn);
  advance_ticks(100);
  set(timer_config(0), kInterrupts | kPin2);
  set(comparator(0), 50);

  advance_ticks(1);
  EXPECT_EQ(pin2.rises, 1);
}

TEST_F(HpetTest, DeadlineFallsOnATickNotOnAnAccess) {
  set(kConfig, kOn);
  advance(7);
  set(timer_config(0), kInterrupts | kPin2);
  set(comparator(0), 2);

  advance(12);
  EXPECT_EQ(pin2.rises, 0);
  advance(1);
  EXPECT_EQ(pin2.rises, 1);
}

TEST_F(HpetTest, NarrowOneShotFiresAtTheWrapToo) {
  set(kCounter, kWrap - 100);
  set(timer_config(0), kInterrupts | kPin2 | k32Bit);
  set(kConfig, kOn);
  set(comparator(0), 50, 4);

  advance_ticks(99);
  EXPECT_EQ(pin2.rises, 0);
  advance_ticks(1);
  EXPECT_EQ(pin2.rises, 1);
  advance_ticks(49);
  EXPECT_EQ(pin2.rises, 1);
  advance_ticks(1);
  EXPECT_EQ(pin2.rises, 2);
  advance_ticks(2 * kWrap);
  EXPECT_EQ(pin2.rises, 2);
}

TEST_F(HpetTest, PeriodicKeepsItsPhase) {
  set(kConfig, kOn);
  start_periodic(0, 5000, 2000, kPin2);
  EXPECT_EQ(get(timer_config(0)) & kSetValue, 0u);

  advance_ticks(4999);
  EXPECT_EQ(pin2.rises, 0);
  EXPECT_EQ(get(comparator(0)), 5000u);
  advance_ticks(1);
  EXPECT_EQ(pin2.rises, 1);
  EXPECT_EQ(get(comparator(0)), 7000u);
  advance_ticks(1999);
  EXPECT_EQ(pin2.rises, 1);
  advance_ticks(1);
  EXPECT_EQ(pin2.rises, 2);
  // What falls due while the guest cannot run is one interrupt.
  advance_ticks(10500);
  EXPECT_EQ(pin2.rises, 3);
  EXPECT_EQ(get(comparator(0)), 19000u);
  advance_ticks(1500);
  EXPECT_EQ(pin2.rises, 4);
}

TEST_F(HpetTest, PeriodicComparatorMovesWithoutInterruptsToo) {
  set(kConfig, kOn);
  start_periodic(1, 5000, 2000);
  set(timer_config(1), kPeriodic);

  advance_ticks(8000);
  EXPECT_EQ(get(comparator(1)), 9000u);
  EXPECT_EQ(pin2.rises + irq0.rises + irq8.rises, 0);
}

TEST_F(HpetTest, PeriodicNarrowTimerWraps) {
  set(kCounter, kWrap - 1500);
  set(kConfig, kOn);
  start_periodic(0, 0xffffffff & (kWrap - 500), 2000, kPin2 | k32Bit);

  advance_ticks(1000);
  EXPECT_EQ(pin2.rises, 1);
  EXPECT_EQ(get(comparator(0)), 1500u);
  advance_ticks(2000);
  EXPECT_EQ(pin2.rises, 2);
}

TEST_F(HpetTest, SetValueHoldsForOneWrite) {
  set(timer_config(0), kPeriodic | kSetValue);
  set(comparator(0), 0x1111, 4);      // the comparator's low half, and the period's
  set(comparator(0) + 4, 0x2222, 4);  // the period's high half
  EXPECT_EQ(get(comparator(0)), 0xffffffff00001111u);
  set(timer_config(0), kPeriodic | kSetValue);
  set(comparator(0), 0x3333);
  set(comparator(0), 0x4444);
  EXPECT_EQ(get(comparator(0)), 0x3333u);
}

TEST_F(HpetTest, ShortPeriodsInterruptAtMostEveryTenMicroseconds) {
  set(kConfig, kOn);
  start_periodic(0, 1, 1, kPin2);

  for (int i = 0; i < 1000; ++i) advance(1000);
  EXPECT_GE(pin2.rises, 90);
  EXPECT_LE(pin2.rises, 101);
  EXPECT_EQ(get(comparator(0)), 100'001u);
}

TEST_F(HpetTest, LevelStaysUntilTheStatusIsCleared) {
  set(kConfig, kOn);
  set(timer_config(2), kInterrupts | kLevel | kPin2);
  set(comparator(2), 10);
  advance_ticks(10);

  EXPECT_TRUE(pin2.level);
  EXPECT_EQ(get(kStatus), 4u);
  set(kStatus, 3);
  EXPECT_TRUE(pin2.level);
  set(kStatus, 4);
  EXPECT_FALSE(pin2.level);
  EXPECT_EQ(get(kStatus), 0u);
}

TEST_F(HpetTest, DisablingLowersTheLine) {
  for (uint64_t offset : {kConfig, timer_config(2)}) {
    set(kConfig, kOn);
    set(timer_config(2), kInterrupts | kLevel | kPin2);
    set(comparator(2), get(kCounter) + 10);
    advance_ticks(10);
    EXPECT_TRUE(pin2.level);
    set(offset, 0);
    EXPECT_FALSE(pin2.level);
    EXPECT_EQ(get(kStatus), 0u);
  }
}

TEST_F(HpetTest, TwoTimersShareAPin) {
  set(kConfig, kOn);
  set(timer_config(0), kInterrupts | kPin2);
  set(timer_config(1), kInterrupts | kPin2);
  set(comparator(0), 10);
  set(comparator(1), 20);

  advance_ticks(10);
  EXPECT_EQ(pin2.rises, 1);
  advance_ticks(10);
  EXPECT_EQ(pin2.rises, 2);
}

TEST_F(HpetTest, OnlyTheRouteThatThereIsIsTaken) {
  set(timer_config(0), kInterrupts | kPin2);
  set(timer_config(0), kInterrupts | 5u << 9);
  EXPECT_EQ(get(timer_config(0)), 0x400000030u | kInterrupts | kPin2);
  set(timer_config(1), kInterrupts | 1u << 14);
  EXPECT_EQ(get(timer_config(1)), 0x400000030u | kInterrupts) << "no messages";
}

TEST_F(HpetTest, LegacyReplacementTakesTheLinesOfPitAndRtc) {
  hpet.pit_line().set(true);
  hpet.rtc_line().set(true);
  EXPECT_TRUE(irq0.level && irq8.level);
  set(kConfig, kOn | kLegacy);
  EXPECT_FALSE(irq0.level || irq8.level);
  hpet.pit_line().set(false);
  hpet.pit_line().set(true);
  EXPECT_EQ(irq0.rises, 1);
  set(timer_config(0), kInterrupts | kPin2);
  set(timer_config(1), kInterrupts);
  set(comparator(0), 10);
  set(comparator(1), 20);

  advance_ticks(10);
  EXPECT_EQ(irq0.rises, 2);
  EXPECT_EQ(irq8.rises, 1);
  advance_ticks(10);
  EXPECT_EQ(irq8.rises, 2);
  EXPECT_EQ(pin2.rises, 0);

  hpet.rtc_line().set(false);
  set(kConfig, kOn);
  EXPECT_FALSE(irq8.level) << "the RTC's level is back";
  EXPECT_TRUE(irq0.level) << "and the PIT's";
}

TEST_F(HpetTest, ResetForgetsAll) {
  set(kConfig, kOn | kLegacy);
  start_periodic(0, 1000, 1000, kLevel);
  advance_ticks(1000);
  ASSERT_TRUE(irq0.level);

  hpet.reset();
  EXPECT_FALSE(irq0.level);
  EXPECT_EQ(get(kConfig) | get(kStatus) | get(kCounter), 0u);
  EXPECT_EQ(get(timer_config(0)), 0x400000030u);
  advance_ticks(100000);
  EXPECT_EQ(irq0.rises, 1);
}

TEST_F(HpetTest, ExtremeValuesAreHarmless) {
  for (uint64_t value : {uint64_t{0}, uint64_t{1}, UINT64_MAX >> 1, (UINT64_MAX >> 1) + 1, UINT64_MAX - 1, UINT64_MAX}) {
    for (uint64_t width : {uint64_t{0}, k32Bit}) {
      for (uint64_t mode : {uint64_t{0}, kPeriodic, kPeriodic | kSetValue}) {
        hpet.reset();
        set(kCounter, value);
        set(timer_config(0), kInterrupts | kPin2 | mode | width);
        set(comparator(0), value);
        set(comparator(0), UINT64_MAX);
        set(kConfig, kOn);
        set(timer_config(0), kInterrupts | kPin2 | kPeriodic | (width ^ k32Bit));
        int before = pin2.rises;
        for (int i = 0; i < 10; ++i) advance(1'000'000'000);
        EXPECT_LE(pin2.rises - before, 10);
        EXPECT_EQ(get(kCounter), value + 1'000'000'000);
      }
    }
  }
}

/// Runs on whenever somebody looks, as a real one does.
class RunningClock final : public Clock {
 public:
  uint64_t now_ns() const override { return now_ns_ += 7; }

 private:
  mutable uint64_t now_ns_ = 0;
};

TEST(HpetOnARunningClock, PeriodicTimerNeverMissesItsNextPeriod) {
  constexpr uint64_t kPeriodTicks = 1001, kSlackNs = Hpet::kMinPeriodNs;
  RunningClock clock;
  vm::TimerQueue timers(clock);
  vm::Bus bus;
  FakeIrq irq0, irq8, pin2;
  Hpet hpet(timers, irq0.line(), irq8.line(), pin2.line());
  ASSERT_TRUE(hpet.attach(bus).has_value());
  auto set = [&](uint64_t offset, uint64_t value) {
    bus.access({.direction = vm::Direction::write, .size = 8, .addr = kBase + offset, .value = value});
  };
  set(kConfig, kOn | kLegacy);
  set(timer_config(0), kInterrupts | kPeriodic | kSetValue | k32Bit);
  set(comparator(0), kPeriodTicks);
  set(comparator(0), kPeriodTicks);
  for (int i = 0; i < 20'000; ++i) {
    auto deadline = timers.next_deadline_ns();
    ASSERT_TRUE(deadline.has_value()) << "after " << i << " periods";
    ASSERT_LT(*deadline, timers.now_ns() + kPeriodTicks * 10 + kSlackNs) << "after " << i << " periods";
    while (timers.now_ns() < *deadline) continue;
    timers.run_due(*deadline);
  }
}

}  // namespace
}  // namespace dejavm::devices
