#include "vm/bus.h"

#include <gmock/gmock.h>

#include "fake_machine.h"

namespace dejavm::vm {
namespace {

using testing::ElementsAre;

constexpr uint64_t kBase = 0x1000;

class BusTest : public testing::Test {
 protected:
  uint64_t load(uint64_t addr, uint8_t size) { return bus_.access({Space::mmio, Direction::read, size, addr, 0}); }
  void store(uint64_t addr, uint8_t size, uint64_t value) {
    bus_.access({Space::mmio, Direction::write, size, addr, value});
  }

  Bus bus_;
  FakeDevice one_{"one"}, two_{"two"};
};

TEST_F(BusTest, OverlapsAreRefusedByName) {
  ASSERT_TRUE(bus_.map(one_, 0, Space::mmio, kBase, 0x100, 8));

  for (uint64_t base : {kBase, kBase + 0xff, kBase - 1, kBase - 0xff}) {
    Status status = bus_.map(two_, 0, Space::mmio, base, 0x100, 8);
    ASSERT_FALSE(status) << base;
    EXPECT_THAT(status.error().what, testing::HasSubstr("overlaps one at 0x1000"));
  }
  EXPECT_FALSE(bus_.map(two_, 0, Space::mmio, 0, 0x10000, 8));  // around it
  EXPECT_TRUE(bus_.map(two_, 0, Space::mmio, kBase + 0x100, 0x100, 8));
  EXPECT_TRUE(bus_.map(two_, 0, Space::mmio, kBase - 0x100, 0x100, 8));
  EXPECT_TRUE(bus_.map(two_, 1, Space::pio, kBase, 0x100, 8));
}

TEST_F(BusTest, EmptyAndWrappingRegionsAreRefused) {
  EXPECT_FALSE(bus_.map(one_, 0, Space::mmio, kBase, 0, 8));
  EXPECT_FALSE(bus_.map(one_, 0, Space::mmio, UINT64_MAX - 3, 8, 8));
  EXPECT_TRUE(bus_.map(one_, 0, Space::mmio, UINT64_MAX - 7, 8, 8));
}

TEST_F(BusTest, NobodyHomeReadsAsAllOnes) {
  EXPECT_EQ(load(0x5000, 1), 0xffu);
  EXPECT_EQ(load(0x5000, 3), 0xffffffu);
  EXPECT_EQ(load(0x5000, 8), UINT64_MAX);
  store(0x5000, 8, 1);
}

TEST_F(BusTest, WideAccessesAreSplitLowestAddressFirst) {
  ASSERT_TRUE(bus_.map(one_, 7, Space::mmio, kBase, 0x100, 2));

  store(kBase + 4, 8, 0x8877665544332211);

  EXPECT_THAT(one_.log,
              ElementsAre("write 7+0x4 2 0x2211", "write 7+0x6 2 0x4433", "write 7+0x8 2 0x6655", "write 7+0xa 2 0x8877"));
}

TEST_F(BusTest, OddSizesAndUnalignedAddressesGiveAlignedPowersOfTwo) {
  ASSERT_TRUE(bus_.map(one_, 0, Space::mmio, kBase, 0x100, 8));

  store(kBase + 1, 7, 0x77665544332211);
  auto unaligned = std::exchange(one_.log, {});
  store(kBase + 0x10, 3, 0x332211);
  auto odd = std::exchange(one_.log, {});
  store(kBase + 0x20, 6, 0x665544332211);

  EXPECT_THAT(unaligned, ElementsAre("write 0+0x1 1 0x11", "write 0+0x2 2 0x3322", "write 0+0x4 4 0x77665544"));
  EXPECT_THAT(odd, ElementsAre("write 0+0x10 2 0x2211", "write 0+0x12 1 0x33"));
  EXPECT_THAT(one_.log, ElementsAre("write 0+0x20 4 0x44332211", "write 0+0x24 2 0x6655"));
}

TEST_F(BusTest, AReadIsPutTogetherFromItsPieces) {
  ASSERT_TRUE(bus_.map(one_, 0, Space::mmio, kBase, 0x100, 2));
  one_.on_read = [](unsigned, uint64_t offset) { return 0xffff0000 | offset; };  // more than asked for

  EXPECT_EQ(load(kBase + 4, 8), 0x000a000800060004u);
}

TEST_F(BusTest, AnAccessThatLeavesItsDeviceIsSplitThere) {
  ASSERT_TRUE(bus_.map(one_, 0, Space::mmio, kBase, 2, 8));
  ASSERT_TRUE(bus_.map(two_, 0, Space::mmio, kBase + 2, 1, 8));
  one_.registers[0] = 0x2211;
  two_.registers[0] = 0x33;

  EXPECT_EQ(load(kBase, 4), 0xff332211u);
  EXPECT_EQ(load(kBase - 2, 4), 0x2211ffffu);
}

TEST_F(BusTest, TheOffsetOfAPieceIsInTheDevicesNumbering) {
  ASSERT_TRUE(bus_.map(one_, 0, Space::pio, 0x3fa, 2, 1, 2));

  bus_.access({Space::pio, Direction::write, 1, 0x3fb, 5});

  EXPECT_THAT(one_.log, ElementsAre("write 0+0x3 1 0x5"));
  EXPECT_EQ(bus_.regions()[0].offset, 2u);
}

TEST_F(BusTest, UnmapTakesOnlyTheDevicesOwnMapping) {
  ASSERT_TRUE(bus_.map(one_, 0, Space::mmio, kBase, 0x100, 8));
  load(kBase, 1);  // now the last one found
  uint64_t generation = bus_.generation();

  bus_.unmap(two_, Space::mmio, kBase);
  bus_.unmap(one_, Space::pio, kBase);
  uint64_t unchanged = bus_.generation();
  bus_.unmap(one_, Space::mmio, kBase);

  EXPECT_EQ(unchanged, generation);
  EXPECT_GT(bus_.generation(), generation);
  EXPECT_EQ(load(kBase, 1), 0xffu);
  EXPECT_EQ(bus_.find(Space::mmio, kBase), nullptr);
}

}  // namespace
}  // namespace dejavm::vm
