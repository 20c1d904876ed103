#include "engine/soft/block_cache.h"

#include <gtest/gtest.h>

#include "engine/soft/fault.h"
#include "soft_fixture.h"

namespace dejavm::soft {
namespace {

constexpr uint64_t kPage = 4096, kNextPage = kCode + kPage, kThird = 0x30000;
constexpr uint64_t kPresentWritable = 3;

/// A cache over the guest's memory, beside the one that its Core has.
class BlockCacheTest : public testing::Test {
 protected:
  BlockCacheTest() { guest.long_mode(); }

  /// Maps the 2 MiB by pages, so that single ones can be changed.
  void map_by_pages() {
    constexpr uint64_t kPageTable = 0x40000;
    for (uint64_t page = 0; page < 512; ++page) guest.poke(kPageTable + 8 * page, page * kPage | kPresentWritable);
    guest.poke(kTables + 0x2000, kPageTable | kPresentWritable);
    table_ = kPageTable;
    core().memory.flush();
  }
  void map(uint64_t linear, uint64_t entry) {
    guest.poke(table_ + 8 * (linear / kPage), entry);
    core().memory.flush();
  }
  Core& core() { return guest.core(); }
  size_t size_at(uint64_t linear, unsigned bits = 64) { return cache.lookup(linear, bits).instructions.size(); }

  SoftGuest guest;
  BlockCache cache{guest.core().memory, guest.core().features};

 private:
  uint64_t table_ = 0;
};

TEST_F(BlockCacheTest, EndsWithTheBranch) {
  guest.code({0x90, 0x90, 0xeb, 0x00, 0x90});

  const Block& block = cache.lookup(kCode, 64);

  EXPECT_EQ(block.offset, kCode);
  EXPECT_EQ(block.instructions.size(), 3u);
  EXPECT_TRUE(block.instructions.back().ends_block);
}

TEST_F(BlockCacheTest, IsFoundAgain) {
  guest.code({0x90, 0xc3});
  const Block* first = &cache.lookup(kCode, 64);

  EXPECT_EQ(&cache.lookup(kCode, 64), first);
}

TEST_F(BlockCacheTest, SameBytesAreOtherCodeInAnotherMode) {
  guest.code({0x48, 0x01, 0xd8, 0xc3});  // 64 bits: add rax, rbx; 32 bits: dec eax; add eax, ebx

  EXPECT_EQ(size_at(kCode, 64), 2u);
  EXPECT_EQ(size_at(kCode, 32), 3u);
  EXPECT_EQ(size_at(kCode, 64), 2u);
}

TEST_F(BlockCacheTest, HasABoundedLength) {
  guest.code(std::vector<uint8_t>(200, 0x90));

  EXPECT_EQ(size_at(kCode), BlockCache::kMaxInstructions);
}

TEST_F(BlockCacheTest, EndsAtThePage) {
  guest.code({0x90, 0x90, 0x90, 0xc3}, kNextPage - 2);

  EXPECT_EQ(size_at(kNextPage - 2), 2u);
  EXPECT_EQ(cache.lookup(kNextPage - 2, 64).page_count, 1);
}

TEST_F(BlockCacheTest, WrittenCodeIsDecodedAnew) {
  guest.code({0x90, 0x90, 0xc3});
  EXPECT_EQ(size_at(kCode), 3u);

  core().memory.write<uint8_t>(kCode + 1, 0xc3);

  EXPECT_EQ(size_at(kCode), 2u);
}

TEST_F(BlockCacheTest, CodeThatADeviceWroteIsDecodedAnew) {
  guest.code({0x90, 0x90, 0xc3});
  EXPECT_EQ(size_at(kCode), 3u);

  ASSERT_TRUE(guest.memory().write({kCode}, std::vector<uint8_t>{0xc3}, vm::Writer::device));

  EXPECT_EQ(size_at(kCode), 1u);
}

TEST_F(BlockCacheTest, DataBesideCodeCostsNothing) {
  guest.code({0x90, 0xc3});
  cache.lookup(kCode, 64);
  uint64_t changes = core().memory.code().changes();

  core().memory.write<uint64_t>(kCode + 64, 1);

  EXPECT_EQ(core().memory.code().changes(), changes);
}

TEST_F(BlockCacheTest, AnInstructionAcrossPagesIsAlone) {
  guest.code({0x90, 0xb8, 1, 2, 3, 4, 0xc3}, kNextPage - 3);

  EXPECT_EQ(size_at(kNextPage - 3), 1u);
  const Block& block = cache.lookup(kNextPage - 2, 64);

  EXPECT_EQ(block.page_count, 2);
  ASSERT_EQ(block.instructions.size(), 1u);
  EXPECT_EQ(block.instructions[0].length, 5);
}

TEST_F(BlockCacheTest, AWriteToEitherOfTwoPagesIsSeen) {
  guest.code({0xb8, 1, 2, 3, 4}, kNextPage - 2);
  EXPECT_EQ(cache.lookup(kNextPage - 2, 64).instructions[0].immediate, 0x04030201u);

  core().memory.write<uint8_t>(kNextPage, 0x55);
  EXPECT_EQ(cache.lookup(kNextPage - 2, 64).instructions[0].immediate, 0x04035501u);

  core().memory.write<uint8_t>(kNextPage - 1, 0x66);
  EXPECT_EQ(cache.lookup(kNextPage - 2, 64).instructions[0].immediate, 0x04035566u);
}

TEST_F(BlockCacheTest, AnotherSecondPageIsAnotherInstruction) {
  map_by_pages();
  guest.code({0xb8, 1, 2, 3, 4}, kNextPage - 2);
  guest.code({0x77, 0x77, 0x77}, kThird);
  cache.lookup(kNextPage - 2, 64);

  map(kNextPage, kThird | kPresentWritable);

  EXPECT_EQ(cache.lookup(kNextPage - 2, 64).instructions[0].immediate, 0x77777701u);
}

TEST_F(BlockCacheTest, AMissingSecondPageFaultsThere) {
  map_by_pages();
  guest.code({0xb8, 1, 2, 3, 4}, kNextPage - 2);
  cache.lookup(kNextPage - 2, 64);
  map(kNextPage, 0);

  try {
    cache.lookup(kNextPage - 2, 64);
    FAIL() << "no page fault";
  } catch (const GuestFault& fault) {
    EXPECT_EQ(fault.vector, kPageFault);
    EXPECT_EQ(guest.cpu().cr2, kNextPage);
  }
}

TEST_F(BlockCacheTest, RunsOnWhenItIsFull) {
  // More instructions than the cache keeps: 16384 blocks of 48 NOPs.
  std::vector<uint8_t> nops(0x100000, 0x90);
  guest.code(nops, 0x80000);

  for (uint64_t at = 0x80000; at < 0x180000; at += 64) ASSERT_GT(size_at(at), 0u) << at;

  EXPECT_EQ(size_at(0x80000), BlockCache::kMaxInstructions);
}

// The guest writes the instruction behind the writing one.
TEST_F(BlockCacheTest, AProgramMayWriteItsOwnBlock) {
  // mov byte [rip + 1], 0x42; mov al, 0x11
  guest.code({0xc6, 0x05, 0x01, 0, 0, 0, 0x42, 0xb0, 0x11});

  EXPECT_TRUE(guest.step_quietly());
  EXPECT_TRUE(guest.step_quietly());

  EXPECT_EQ(guest.gpr(vm::rax), 0x42u);
}

}  // namespace
}  // namespace dejavm::soft
