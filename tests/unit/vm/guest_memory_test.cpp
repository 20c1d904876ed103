#include "vm/guest_memory.h"

#include <gmock/gmock.h>

namespace dejavm::vm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint64_t kRom = 0x100000;

/// 4 pages of RAM at 0, a page of ROM behind it at 1 MiB, and the last RAM page again at 2 MiB.
GuestMemory sample() {
  GuestMemory memory = GuestMemory::create(4 * kPageSize, kPageSize).value();
  EXPECT_TRUE(memory.set_map({{{kRom}, kPageSize, 4 * kPageSize, false},
                              {{0}, 4 * kPageSize, 0, true},
                              {{0x200000}, kPageSize, 3 * kPageSize, true}}));
  return memory;
}

uint8_t byte_at(const GuestMemory& memory, uint64_t gpa) {
  uint8_t byte = 0;
  EXPECT_TRUE(memory.read({gpa}, {&byte, 1}));
  return byte;
}

TEST(GuestMemory, RefusesSizesThatNoGuestHas) {
  EXPECT_FALSE(GuestMemory::create(0, 0));
  EXPECT_FALSE(GuestMemory::create(kPageSize + 1, 0));
  EXPECT_FALSE(GuestMemory::create(GuestMemory::kMaxRam + kPageSize, 0));
  EXPECT_FALSE(GuestMemory::create(kPageSize, 1));
  EXPECT_FALSE(GuestMemory::create(kPageSize, GuestMemory::kMaxRom + kPageSize));
  EXPECT_FALSE(GuestMemory::create(UINT64_MAX - kPageSize + 1, 0));
}

TEST(GuestMemory, MoreThanTheHostHasIsRefusedWithBothNumbers) {
  constexpr uint64_t kHost = 8 * kPageSize;
  EXPECT_TRUE(GuestMemory::create(7 * kPageSize, kPageSize, kHost));

  auto memory = GuestMemory::create(3 << 20, kPageSize, 2 << 20);

  EXPECT_FALSE(GuestMemory::create(8 * kPageSize, kPageSize, kHost));
  ASSERT_FALSE(memory);
  EXPECT_THAT(memory.error().what, HasSubstr("3 MiB of memory does not fit this host, which has 2 MiB"));
  EXPECT_THAT(memory.error().next, HasSubstr("-m"));
}

TEST(GuestMemory, TheHostsMemoryIsTheLimit) {
  uint64_t too_much = (GuestMemory::host_memory_size() / kPageSize + 1) * kPageSize;

  EXPECT_FALSE(GuestMemory::create(too_much, 0));
}

TEST(GuestMemory, RefusesBadMapsAndKeepsTheOldOne) {
  GuestMemory memory = sample();
  uint64_t generation = memory.map_generation();

  EXPECT_FALSE(memory.set_map({{{0}, 2 * kPageSize, 0, true}, {{kPageSize}, kPageSize, 0, true}}));  // overlap
  EXPECT_FALSE(memory.set_map({{{1}, kPageSize, 0, true}}));                                         // unaligned base
  EXPECT_FALSE(memory.set_map({{{0}, 100, 0, true}}));                                               // unaligned size
  EXPECT_FALSE(memory.set_map({{{0}, kPageSize, 7, true}}));                                         // unaligned offset
  EXPECT_FALSE(memory.set_map({{{0}, 0, 0, true}}));                                                 // empty
  EXPECT_FALSE(memory.set_map({{{0}, 6 * kPageSize, 0, true}}));          // larger than the backing
  EXPECT_FALSE(memory.set_map({{{0}, kPageSize, 5 * kPageSize, true}}));  // behind the backing
  EXPECT_FALSE(memory.set_map({{{0}, kPageSize, UINT64_MAX - kPageSize + 1, true}}));
  EXPECT_FALSE(memory.set_map({{{UINT64_MAX - kPageSize + 1}, 2 * kPageSize, 0, true}}));  // wraps
  EXPECT_EQ(memory.map().size(), 3u);
  EXPECT_EQ(memory.map_generation(), generation);
}

TEST(GuestMemory, FindsTheRangeOfAnAddress) {
  GuestMemory memory = sample();

  EXPECT_EQ(memory.find({4 * kPageSize - 1})->base.value, 0u);
  EXPECT_EQ(memory.find({4 * kPageSize}), nullptr);
  EXPECT_EQ(memory.find({kRom})->offset, 4 * kPageSize);
  EXPECT_EQ(memory.find({UINT64_MAX}), nullptr);
}

TEST(GuestMemory, TheSameBytesMayAppearTwice) {
  GuestMemory memory = sample();

  ASSERT_TRUE(memory.write({0x200010}, Bytes{0xab}, Writer::device));

  EXPECT_EQ(byte_at(memory, 3 * kPageSize + 0x10), 0xab);
}

TEST(GuestMemory, WritesToRomAreDroppedButForLoaderAndReplay) {
  GuestMemory memory = sample();

  EXPECT_TRUE(memory.write({kRom}, Bytes{1}, Writer::device));
  uint8_t after_device = byte_at(memory, kRom);
  EXPECT_TRUE(memory.write({kRom}, Bytes{2}, Writer::debugger));
  uint8_t after_debugger = byte_at(memory, kRom);
  EXPECT_TRUE(memory.write({kRom}, Bytes{3}, Writer::loader));
  uint8_t after_loader = byte_at(memory, kRom);
  EXPECT_TRUE(memory.write({kRom}, Bytes{4}, Writer::replay));

  EXPECT_EQ(after_device, 0);
  EXPECT_EQ(after_debugger, 0);
  EXPECT_EQ(after_loader, 3);
  EXPECT_EQ(byte_at(memory, kRom), 4);
}

TEST(GuestMemory, ADroppedWriteIsNeitherDirtyNorObserved) {
  GuestMemory memory = sample();
  int observed = 0;
  memory.add_observer([&](uint64_t, ByteSpan, Writer) { ++observed; });

  ASSERT_TRUE(memory.write({kRom}, Bytes{1}, Writer::device));

  EXPECT_EQ(observed, 0);
  EXPECT_TRUE(memory.take_dirty().empty());
}

TEST(GuestMemory, AccessesThatLeaveMemoryDoNothing) {
  GuestMemory memory = sample();
  Bytes two = {0x55, 0x55};

  Status written = memory.write({4 * kPageSize - 1}, Bytes{1, 2}, Writer::device);
  Status read = memory.read({4 * kPageSize - 1}, two);

  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().what, HasSubstr("0x4000 is not memory"));
  EXPECT_FALSE(read);
  EXPECT_EQ(byte_at(memory, 4 * kPageSize - 1), 0);
  EXPECT_THAT(two, ElementsAre(0x55, 0x55));
}

TEST(GuestMemory, AccessesThatWrapAroundTheAddressSpaceFail) {
  GuestMemory memory = GuestMemory::create(2 * kPageSize, 0).value();
  ASSERT_TRUE(memory.set_map({{{0}, kPageSize, 0, true}, {{UINT64_MAX - 2 * kPageSize + 1}, kPageSize, kPageSize, true}}));
  Bytes bytes(2 * kPageSize + 2);

  EXPECT_FALSE(memory.read({UINT64_MAX - 2 * kPageSize + 1}, bytes));
  EXPECT_FALSE(memory.read({UINT64_MAX}, {bytes.data(), 2}));
}

TEST(GuestMemory, AWriteAcrossRangesIsSplitAtTheirBacking) {
  GuestMemory memory = GuestMemory::create(4 * kPageSize, 0).value();
  ASSERT_TRUE(memory.set_map({{{0}, kPageSize, 2 * kPageSize, true}, {{kPageSize}, kPageSize, 0, true}}));
  std::vector<uint64_t> offsets;
  memory.add_observer([&](uint64_t offset, ByteSpan, Writer) { offsets.push_back(offset); });

  ASSERT_TRUE(memory.write({kPageSize - 1}, Bytes{1, 2}, Writer::device));

  EXPECT_THAT(offsets, ElementsAre(3 * kPageSize - 1, 0u));
  EXPECT_EQ(*memory.host(3 * kPageSize - 1), 1);
  EXPECT_EQ(*memory.host(0), 2);
}

TEST(GuestMemory, TheObserverHearsOffsetBytesAndWriter) {
  GuestMemory memory = sample();
  uint64_t seen_offset = 0;
  Bytes seen;
  Writer seen_writer = Writer::loader;
  memory.add_observer([&](uint64_t offset, ByteSpan bytes, Writer writer) {
    seen_offset = offset;
    seen.assign(bytes.begin(), bytes.end());
    seen_writer = writer;
  });

  ASSERT_TRUE(memory.write({0x200000}, Bytes{9, 8}, Writer::device));

  EXPECT_EQ(seen_offset, 3 * kPageSize);
  EXPECT_THAT(seen, ElementsAre(9, 8));
  EXPECT_EQ(seen_writer, Writer::device);
}

TEST(GuestMemory, ObserversHearInTheirOrderUntilTheyAreRemoved) {
  GuestMemory memory = sample();
  std::string heard;
  auto first = memory.add_observer([&](uint64_t, ByteSpan, Writer) { heard += 'a'; });
  memory.add_observer([&](uint64_t, ByteSpan, Writer) { heard += 'b'; });

  ASSERT_TRUE(memory.write({0}, Bytes{1}, Writer::device));
  memory.remove_observer(first);
  ASSERT_TRUE(memory.write({0}, Bytes{1}, Writer::device));

  EXPECT_EQ(heard, "abb");
}

TEST(GuestMemory, DirtyPagesAreGivenOnceAscending) {
  GuestMemory memory = sample();
  ASSERT_TRUE(memory.write({2 * kPageSize + 5}, Bytes{1}, Writer::device));
  ASSERT_TRUE(memory.write({kPageSize - 1}, Bytes{1, 1}, Writer::device));
  memory.mark_dirty(2);

  EXPECT_THAT(memory.dirty(), ElementsAre(0u, 1u, 2u));
  EXPECT_THAT(memory.take_dirty(), ElementsAre(0u, 1u, 2u));
  EXPECT_TRUE(memory.take_dirty().empty());
}

TEST(GuestMemory, BackingWritesStayInside) {
  GuestMemory memory = sample();

  EXPECT_TRUE(memory.write_backing(5 * kPageSize - 1, Bytes{1}, Writer::loader));
  EXPECT_TRUE(memory.write_backing(5 * kPageSize, Bytes{}, Writer::loader));
  EXPECT_FALSE(memory.write_backing(5 * kPageSize - 1, Bytes{1, 2}, Writer::loader));
  EXPECT_FALSE(memory.write_backing(UINT64_MAX, Bytes{1, 2}, Writer::loader));
}

}  // namespace
}  // namespace dejavm::vm
