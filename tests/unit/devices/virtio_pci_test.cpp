// The transport and the queue, on a device that writes a pattern.
#include "devices/virtio_pci.h"

#include "virtio_fakes.h"

namespace dejavm::devices {
namespace {

/// Writes `answer` to the first byte that it may write.
class Echo final : public VirtioPci {
 public:
  Echo(const VirtioBoard& board)
      : VirtioPci("echo", board, devfn(2, 0),
                  {.device = 9, .class_code = 0x00ff00, .features = 1, .queue_size = 8, .registers = {1, 2, 3, 4}}) {}

  std::optional<Served> serve(const VirtioChain& chain) override {
    chains.push_back(chain);
    const uint8_t answer[] = {0x5a};
    if (!write_segments(dma(), chain.writable, 0, answer)) return std::nullopt;
    return Served{1, moved};
  }

  std::vector<VirtioChain> chains;
  uint64_t moved = 1;
};

class VirtioPciTest : public testing::Test, public VirtioFixture {
 protected:
  VirtioPciTest() {
    echo.connect(irq.line());
    place(echo);
  }
  void expect_broken(uint16_t head) {
    ASSERT_EQ(start(kVersion1 | uint64_t{1} << 28), 0x0fu);
    offer(head);
    EXPECT_TRUE(needs_reset());
    EXPECT_TRUE(echo.chains.empty());
    EXPECT_TRUE(irq.level);
    EXPECT_EQ(load(kBar + 0x1000, 1), 3u);
    offer(head);
    EXPECT_TRUE(echo.chains.empty());
  }

  Echo echo{board()};
};

TEST_F(VirtioPciTest, LooksLikeQemus) {
  EXPECT_EQ(echo.config_read(0x00, 4), 0x10491af4u);
  EXPECT_EQ(echo.config_read(0x04, 4), 0x00100006u);
  EXPECT_EQ(echo.config_read(0x08, 4), 0x00ff0001u);
  EXPECT_EQ(echo.config_read(0x2c, 4), 0x11001af4u);
  EXPECT_EQ(echo.config_read(0x34, 1), 0x84u);
  EXPECT_EQ(echo.config_read(0x84, 4), 0x05147009u);
  EXPECT_EQ(echo.config_read(0x70, 4), 0x02146009u);
  EXPECT_EQ(echo.config_read(0x74, 4), 4u);
  EXPECT_EQ(echo.config_read(0x78, 4), 0x3000u);
  EXPECT_EQ(echo.config_read(0x7c, 4), 0x1000u);
  EXPECT_EQ(echo.config_read(0x80, 4), 4u);
  EXPECT_EQ(echo.config_read(0x40, 4), 0x01100009u);
  EXPECT_EQ(echo.config_read(0x14, 4), 0u) << "no BAR for MSI-X without somebody who delivers messages";
}

TEST_F(VirtioPciTest, BarHas64Bits) {
  echo.config_write(0x20, 4, 0xffffffff);
  echo.config_write(0x24, 4, 0xffffffff);
  EXPECT_EQ(echo.config_read(0x20, 4), 0xffffc00cu);
  EXPECT_EQ(echo.config_read(0x24, 4), 0xffffffffu);
  echo.config_write(0x20, 4, 0x4000);
  echo.config_write(0x24, 4, 1);
  echo.unmap_stale_windows();
  echo.map_windows();
  EXPECT_EQ(load(uint64_t{1} << 32 | 0x6000, 4), 0x04030201u);
}

TEST_F(VirtioPciTest, CommonRegistersAfterReset) {
  EXPECT_EQ(load(kBar + 0x04, 4), 0x30000001u);
  store(kBar, 1, 4);
  EXPECT_EQ(load(kBar + 0x04, 4), 0x101u);
  store(kBar, 2, 4);
  EXPECT_EQ(load(kBar + 0x04, 4), 0u);
  EXPECT_EQ(load(kBar + 0x10, 2), 0xffffu);
  EXPECT_EQ(load(kBar + 0x12, 2), 1u);
  EXPECT_EQ(load(kBar + 0x18, 2), 8u);
  store(kBar + 0x16, 1, 2);
  EXPECT_EQ(load(kBar + 0x18, 2), 0u);
}

TEST_F(VirtioPciTest, RegistersEndWhereTheyEnd) {
  EXPECT_EQ(load(kBar + 0x2000, 4), 0x04030201u);
  EXPECT_EQ(load(kBar + 0x2003, 1), 4u);
  EXPECT_EQ(load(kBar + 0x2004, 4), 0xffffffffu);
  store(kBar + 0x2000, 9, 1);
  EXPECT_EQ(load(kBar + 0x2000, 1), 1u);
}

TEST_F(VirtioPciTest, RefusesFeaturesThatAreNotOffered) { EXPECT_EQ(start(kVersion1 | 2) & 8, 0u); }

TEST_F(VirtioPciTest, RefusesLegacyDrivers) { EXPECT_EQ(start(1) & 8, 0u); }

TEST_F(VirtioPciTest, ServesWhenTheInstructionIsComplete) {
  ASSERT_EQ(start(kVersion1), 0x0fu);
  describe(kTable, 3, {0x4000, 16, kNext, 5});
  describe(kTable, 5, {0x5000, 16, kWritable, 0});
  poke16(kAvailable + 4, 3);
  poke16(kAvailable + 2, 1);
  store(kBar + 0x3000, 0, 2);
  EXPECT_TRUE(echo.chains.empty());
  EXPECT_FALSE(irq.level);
  deferred.run();
  ASSERT_EQ(echo.chains.size(), 1u);
  EXPECT_EQ(echo.chains[0].readable.size(), 1u);
  EXPECT_EQ(peek(0x5000, 1)[0], 0x5a);
  EXPECT_EQ(used_index(), 1u);
  EXPECT_EQ(used_length(), 1u);
  EXPECT_TRUE(irq.level);
  EXPECT_EQ(load(kBar + 0x1000, 1), 1u);
  EXPECT_FALSE(irq.level);
  EXPECT_EQ(load(kBar + 0x1000, 1), 0u);
}

TEST_F(VirtioPciTest, FollowsAnIndirectTable) {
  ASSERT_EQ(start(kVersion1 | uint64_t{1} << 28), 0x0fu);
  describe(kTable, 0, {0x4000, 32, kIndirect, 0});
  describe(0x4000, 0, {0x5000, 16, kNext, 1});
  describe(0x4000, 1, {0x6000, 16, kWritable, 0});
  offer(0);
  ASSERT_EQ(echo.chains.size(), 1u);
  EXPECT_EQ(echo.chains[0].writable[0].gpa, 0x6000u);
}

TEST_F(VirtioPciTest, SilentWhenTheDriverWantsNoInterrupt) {
  ASSERT_EQ(start(kVersion1), 0x0fu);
  describe(kTable, 0, {0x5000, 16, kWritable, 0});
  poke16(kAvailable, 1);
  offer(0);
  EXPECT_EQ(used_index(), 1u);
  EXPECT_FALSE(irq.level);
}

TEST_F(VirtioPciTest, InterruptsAtTheEventIndex) {
  ASSERT_EQ(start(kVersion1 | uint64_t{1} << 29), 0x0fu);
  describe(kTable, 0, {0x5000, 16, kWritable, 0});
  poke16(kAvailable + 4 + 2 * 8, 2);  // after the third
  offer(0);                           // the first is always told
  EXPECT_EQ(load(kBar + 0x1000, 1), 1u);
  offer(0);
  EXPECT_FALSE(irq.level);
  offer(0);
  EXPECT_TRUE(irq.level);
  EXPECT_EQ(load_le<uint16_t>(peek(kUsed + 4 + 8 * 8, 2).data()), 3u) << "asks for a notification of the next";
}

TEST_F(VirtioPciTest, ManyRequestsInterruptOnce) {
  ASSERT_EQ(start(kVersion1), 0x0fu);
  describe(kTable, 0, {0x5000, 16, kWritable, 0});
  poke16(kAvailable + 2, 8);
  notify();
  EXPECT_EQ(used_index(), 8u);
  EXPECT_EQ(irq.rises, 1);
}

TEST_F(VirtioPciTest, LongWorkPauses) {
  ASSERT_EQ(start(kVersion1), 0x0fu);
  echo.moved = VirtioPci::kWorkAtOnce;
  describe(kTable, 0, {0x5000, 16, kWritable, 0});
  poke16(kAvailable + 2, 3);
  notify();
  EXPECT_EQ(used_index(), 1u);
  notify();
  EXPECT_EQ(used_index(), 1u) << "a notification does not hurry it";
  advance(1000);
  EXPECT_EQ(used_index(), 2u);
  store(kBar + 0x14, 0, 1);
  advance(1000);
  EXPECT_EQ(used_index(), 2u) << "a reset ends it";
}

TEST_F(VirtioPciTest, DoesNothingWithoutBusMastering) {
  ASSERT_EQ(start(kVersion1), 0x0fu);
  describe(kTable, 0, {0x5000, 16, kWritable, 0});
  echo.config_write(0x04, 2, 0x02);
  offer(0);
  EXPECT_TRUE(echo.chains.empty());
}

TEST_F(VirtioPciTest, DoesNothingAfterAResetInBetween) {
  ASSERT_EQ(start(kVersion1), 0x0fu);
  describe(kTable, 0, {0x5000, 16, kWritable, 0});
  poke16(kAvailable + 2, 1);
  store(kBar + 0x3000, 0, 2);
  store(kBar + 0x14, 0, 1);
  deferred.run();
  EXPECT_TRUE(echo.chains.empty());
  EXPECT_EQ(load(kBar + 0x1c, 2), 0u);
}

TEST_F(VirtioPciTest, QueueResetStartsOver) {
  ASSERT_EQ(start(kVersion1 | uint64_t{1} << 40), 0x0fu);
  describe(kTable, 0, {0x5000, 16, kWritable, 0});
  offer(0);
  store(kBar + 0x3a, 1, 2);
  EXPECT_EQ(load(kBar + 0x3a, 2), 0u);
  EXPECT_EQ(load(kBar + 0x1c, 2), 0u);
}

TEST_F(VirtioPciTest, ConfigurationWindowReachesTheRegisters) {
  echo.config_write(0x88, 1, 4);
  echo.config_write(0x8c, 4, 0x2000);
  echo.config_write(0x90, 4, 2);
  EXPECT_EQ(echo.config_read(0x94, 2), 0x0201u);
  echo.config_write(0x8c, 4, 0x16);
  echo.config_write(0x94, 2, 7);
  EXPECT_EQ(load(kBar + 0x16, 2), 7u);
  echo.config_write(0x8c, 4, 0xfffffffe);  // outside: nothing happens
  echo.config_write(0x94, 2, 7);
  EXPECT_EQ(echo.config_read(0x94, 2), 7u);
}

// Hostile drivers.

TEST_F(VirtioPciTest, LoopOfDescriptorsBreaksTheQueue) {
  describe(kTable, 0, {0x5000, 16, kWritable | kNext, 1});
  describe(kTable, 1, {0x5000, 16, kWritable | kNext, 0});
  expect_broken(0);
}

TEST_F(VirtioPciTest, HeadOutsideTheTableBreaksTheQueue) { expect_broken(8); }

TEST_F(VirtioPciTest, NextOutsideTheTableBreaksTheQueue) {
  describe(kTable, 0, {0x5000, 16, kWritable | kNext, 0xffff});
  expect_broken(0);
}

TEST_F(VirtioPciTest, EmptyDescriptorBreaksTheQueue) { expect_broken(0); }

TEST_F(VirtioPciTest, ReadableAfterWritableBreaksTheQueue) {
  describe(kTable, 0, {0x5000, 16, kWritable | kNext, 1});
  describe(kTable, 1, {0x5000, 16, 0, 0});
  expect_broken(0);
}

TEST_F(VirtioPciTest, IndirectInIndirectBreaksTheQueue) {
  describe(kTable, 0, {0x4000, 16, kIndirect, 0});
  describe(0x4000, 0, {0x4000, 16, kIndirect, 0});
  expect_broken(0);
}

TEST_F(VirtioPciTest, OddIndirectTableBreaksTheQueue) {
  describe(kTable, 0, {0x4000, 0xffffffff, kIndirect, 0});
  expect_broken(0);
}

TEST_F(VirtioPciTest, IndirectTableAtTheEndOfTheSpaceBreaksTheQueue) {
  describe(kTable, 0, {UINT64_MAX - 7, 0xfffffff0, kIndirect, 0});
  expect_broken(0);
}

TEST_F(VirtioPciTest, MoreAvailableThanPlacesBreaksTheQueue) {
  ASSERT_EQ(start(kVersion1), 0x0fu);
  poke16(kAvailable + 2, 9);
  notify();
  EXPECT_TRUE(needs_reset());
  EXPECT_TRUE(echo.chains.empty());
}

TEST_F(VirtioPciTest, RingsThatAreNoMemoryBreakTheQueue) {
  store(kBar + 0x2c, 0xffffffff, 4);
  store(kBar + 0x34, 0xffffffff, 4);
  ASSERT_EQ(start(kVersion1), 0x0fu);
  notify();
  EXPECT_TRUE(needs_reset());
}

TEST_F(VirtioPciTest, SizesThatAreNoPowerOfTwoAreNotTaken) {
  store(kBar + 0x18, 3, 2);
  EXPECT_EQ(load(kBar + 0x18, 2), 8u);
  store(kBar + 0x18, 16, 2);
  EXPECT_EQ(load(kBar + 0x18, 2), 8u);
  store(kBar + 0x18, 0, 2);
  EXPECT_EQ(load(kBar + 0x18, 2), 8u);
}

class VirtioMsixTest : public testing::Test, public VirtioFixture {
 protected:
  static constexpr uint64_t kTableBar = 0xfeb00000;
  VirtioMsixTest() {
    echo.connect(irq.line());
    place(echo);
    echo.config_write(0x14, 4, kTableBar);
    echo.map_windows();
    store(kTableBar + 16, 0xfee01000, 4);
    store(kTableBar + 24, 0x41, 4);
    echo.config_write(0x9b, 1, 0x80);
    start(kVersion1);
    store(kBar + 0x1a, 1, 2);
    describe(kTable, 0, {0x5000, 16, kWritable, 0});
  }

  std::vector<std::pair<uint64_t, uint32_t>> messages;
  Echo echo{board([this](uint64_t address, uint32_t data) { messages.emplace_back(address, data); })};
};

TEST_F(VirtioMsixTest, LooksLikeQemus) {
  EXPECT_EQ(echo.config_read(0x34, 1), 0x98u);
  EXPECT_EQ(echo.config_read(0x98, 4), 0x80018411u);
  EXPECT_EQ(echo.config_read(0x9c, 4), 1u);
  EXPECT_EQ(echo.config_read(0xa0, 4), 0x801u);
}

TEST_F(VirtioMsixTest, VectorSendsItsMessageAndNoInterruptPin) {
  store(kTableBar + 28, 0, 4);
  offer(0);
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0], (std::pair<uint64_t, uint32_t>{0xfee01000, 0x41}));
  EXPECT_FALSE(irq.level);
}

TEST_F(VirtioMsixTest, MaskedVectorWaits) {
  offer(0);
  EXPECT_TRUE(messages.empty());
  EXPECT_EQ(load(kTableBar + 0x800, 4), 2u);
  store(kTableBar + 28, 0, 4);
  EXPECT_EQ(messages.size(), 1u);
  EXPECT_EQ(load(kTableBar + 0x800, 4), 0u);
}

TEST_F(VirtioMsixTest, MessageOfADeviceThatMayNotMasterTheBusIsLost) {
  offer(0);
  echo.config_write(0x04, 2, 0x02);
  store(kTableBar + 28, 0, 4);
  echo.config_write(0x04, 2, 0x06);
  EXPECT_TRUE(messages.empty());
  EXPECT_EQ(load(kTableBar + 0x800, 4), 0u);
}

TEST_F(VirtioMsixTest, VectorsThatDoNotExistAreNone) {
  store(kBar + 0x1a, 2, 2);
  EXPECT_EQ(load(kBar + 0x1a, 2), 0xffffu);
  offer(0);
  EXPECT_TRUE(messages.empty());
}

}  // namespace
}  // namespace dejavm::devices
