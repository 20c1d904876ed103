#include "devices/edu.h"

#include <gtest/gtest.h>

#include <numeric>

#include "fakes.h"

namespace dejavm::devices {
namespace {

constexpr uint64_t kBar = 0xfea00000;
constexpr uint64_t kUs = 1000;
constexpr uint64_t kBuffer = 0x40000;

class EduTest : public testing::Test, public DeviceFixture {
 protected:
  EduTest() {
    EXPECT_TRUE(memory.set_map({{{0}, 0x10000, 0, true}}).has_value());
    edu.connect(irq.line());
    edu.reset();
    edu.config_write(0x10, 4, kBar);
    edu.config_write(0x04, 2, 0x06);
    edu.map_windows();
  }

  void start_dma(uint64_t source, uint64_t destination, uint64_t count, uint64_t command) {
    store(kBar + 0x80, source, 8);
    store(kBar + 0x88, destination, 8);
    store(kBar + 0x90, count, 8);
    store(kBar + 0x98, command, 8);
  }
  Bytes ram(uint64_t gpa, size_t size) {
    Bytes bytes(size);
    EXPECT_TRUE(memory.read({gpa}, bytes).has_value());
    return bytes;
  }
  void fill_ram(uint64_t gpa, size_t size) {
    Bytes bytes(size);
    std::iota(bytes.begin(), bytes.end(), uint8_t{1});
    EXPECT_TRUE(memory.write({gpa}, bytes, vm::Writer::loader).has_value());
  }

  vm::GuestMemory memory = vm::GuestMemory::create(0x10000, 0).value();
  vm::Dma dma{memory};
  FakeIrq irq;
  Edu edu{"edu", bus, devfn(2, 0), timers, dma, {}};
};

TEST_F(EduTest, Identifies) {
  EXPECT_EQ(edu.config_read(0, 4), 0x11e81234u);
  EXPECT_EQ(edu.config_read(8, 4), 0x00ff0010u);
  EXPECT_EQ(load(kBar, 4), 0x010000edu);
}

TEST_F(EduTest, LivenessIsInverted) {
  store(kBar + 4, 0x12345678, 4);
  EXPECT_EQ(load(kBar + 4, 4), 0xedcba987u);
}

TEST_F(EduTest, FactorialIsComputedInTheBackground) {
  store(kBar + 8, 10, 4);
  EXPECT_EQ(load(kBar + 0x20, 4), 1u);
  store(kBar + 8, 3, 4);  // ignored while computing
  advance(10 * kUs);
  EXPECT_EQ(load(kBar + 0x20, 4), 0u);
  EXPECT_EQ(load(kBar + 8, 4), 3628800u);
  EXPECT_FALSE(irq.level);
}

TEST_F(EduTest, HugeFactorialEndsAtOnce) {
  store(kBar + 8, 0xffffffff, 4);
  advance(10 * kUs);
  EXPECT_EQ(load(kBar + 8, 4), 0u);
}

TEST_F(EduTest, FactorialInterruptsWhenAsked) {
  store(kBar + 0x20, 0xffffffff, 4);
  EXPECT_EQ(load(kBar + 0x20, 4), 0x80u);
  store(kBar + 8, 4, 4);
  advance(10 * kUs);
  EXPECT_TRUE(irq.level);
  EXPECT_EQ(load(kBar + 0x24, 4), 1u);
}

TEST_F(EduTest, RaisedInterruptStaysUntilAcknowledged) {
  store(kBar + 0x60, 0x30, 4);
  EXPECT_TRUE(irq.level);
  store(kBar + 0x64, 0x10, 4);
  EXPECT_TRUE(irq.level);
  store(kBar + 0x64, 0x20, 4);
  EXPECT_FALSE(irq.level);
}

TEST_F(EduTest, DmaGoesBothWaysWithInterrupts) {
  fill_ram(0x1000, 100);
  start_dma(0x1000, kBuffer + 16, 100, 0x5);
  EXPECT_EQ(load(kBar + 0x98, 4), 5u);
  advance(100 * kUs);
  EXPECT_EQ(load(kBar + 0x98, 4), 4u);
  EXPECT_EQ(load(kBar + 0x24, 4), 0x100u);
  store(kBar + 0x64, 0x100, 4);
  start_dma(kBuffer + 16, 0x2000, 100, 0x7);
  EXPECT_EQ(ram(0x2000, 100), Bytes(100));
  advance(100 * kUs);
  EXPECT_EQ(ram(0x2000, 100), ram(0x1000, 100));
  EXPECT_TRUE(irq.level);
}

TEST_F(EduTest, RegistersStandStillDuringDma) {
  start_dma(0x1000, kBuffer, 4, 0x1);
  store(kBar + 0x90, 77, 4);
  EXPECT_EQ(load(kBar + 0x90, 4), 4u);
}

TEST_F(EduTest, DmaMaskCutsTheGuestAddress) {
  fill_ram(0x1000, 8);
  start_dma(0xf0001000, kBuffer, 8, 0x1);
  advance(100 * kUs);
  start_dma(kBuffer, 0x3000, 8, 0x3);
  advance(100 * kUs);
  EXPECT_EQ(ram(0x3000, 8), ram(0x1000, 8));
}

class EduHostileDma : public EduTest, public testing::WithParamInterface<std::pair<uint64_t, uint64_t>> {};

TEST_P(EduHostileDma, OutsideTheBufferIsDropped) {
  auto [address, count] = GetParam();
  fill_ram(0, 0x1000);
  Bytes before = ram(0, 0x10000);
  start_dma(address, 0x0, count, 0x7);
  advance(100 * kUs);
  EXPECT_EQ(ram(0, 0x10000), before);
  EXPECT_EQ(load(kBar + 0x98, 4) & 1, 0u);
  EXPECT_FALSE(irq.level);
}

INSTANTIATE_TEST_SUITE_P(Ranges, EduHostileDma,
                         testing::Values(std::pair{kBuffer, uint64_t{4097}}, std::pair{kBuffer + 4096, uint64_t{1}},
                                         std::pair{kBuffer - 1, uint64_t{1}}, std::pair{uint64_t{0}, uint64_t{8}},
                                         std::pair{kBuffer + 1, UINT64_MAX}, std::pair{UINT64_MAX, UINT64_MAX},
                                         std::pair{kBuffer + 4095, uint64_t{2}}));

TEST_F(EduTest, WithoutBusMasterNothingIsCopied) {
  edu.config_write(0x04, 2, 0x02);
  fill_ram(0x1000, 4);
  start_dma(kBuffer, 0x1000, 4, 0x7);
  advance(100 * kUs);
  EXPECT_EQ(ram(0x1000, 4), (Bytes{1, 2, 3, 4}));
  EXPECT_TRUE(irq.level);
}

TEST_F(EduTest, GuestAddressThatIsNotMemoryChangesNothing) {
  start_dma(kBuffer, 0xfffe, 4, 0x7);
  advance(100 * kUs);
  EXPECT_EQ(ram(0xfffe, 2), Bytes(2));
  EXPECT_TRUE(irq.level);
}

TEST_F(EduTest, WrongSizesReadAsInQemuAndWriteNothing) {
  EXPECT_EQ(load(kBar, 1), 0u);
  EXPECT_EQ(load(kBar, 2), 0u);
  EXPECT_EQ(load(kBar, 8), UINT64_MAX);
  store(kBar + 4, 0x55, 1);
  EXPECT_EQ(load(kBar + 4, 4), 0u);
  EXPECT_EQ(load(kBar + 0x100, 4), 0xffffffffu);
}

TEST_F(EduTest, UnalignedAccessIsSplitByTheBus) {
  store(kBar + 0x80, 0x1122334455667788, 8);
  EXPECT_EQ(load(kBar + 0x80, 8), 0x1122334455667788u);
  EXPECT_EQ(load(kBar + 0x82, 4), 0u);  // two accesses of two bytes
}

TEST_F(EduTest, ResetStopsEverything) {
  fill_ram(0x1000, 4);
  store(kBar + 0x60, 1, 4);
  start_dma(kBuffer, 0x1000, 4, 0x7);
  edu.reset();
  advance(1000 * kUs);
  EXPECT_EQ(ram(0x1000, 4), (Bytes{1, 2, 3, 4}));
  EXPECT_FALSE(irq.level);
  EXPECT_FALSE(timers.next_deadline_ns().has_value());
}

}  // namespace
}  // namespace dejavm::devices
