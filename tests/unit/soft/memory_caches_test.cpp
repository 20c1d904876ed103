// Decoded code and translations: what LinearMemory notices of their changes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "memory_fixture.h"

namespace dejavm::soft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

using MemoryCachesTest = MemoryTest;

constexpr CodePages::Pieces kWholePage = ~CodePages::Pieces{0};

// ---- Code

TEST_F(MemoryCachesTest, WritesToCodeAreNoticedByTheirBytes) {
  memory.write<uint8_t>(kData, 1);
  memory.mark_code(kData / kPageSize, CodePages::pieces(0x100, 0x13f));
  uint32_t generation = memory.code().generation(kData / kPageSize, kWholePage);

  memory.write<uint32_t>(kData + 0x140, 1);
  memory.write<uint32_t>(kData + 0xfc, 1);
  EXPECT_EQ(memory.code().generation(kData / kPageSize, kWholePage), generation);
  EXPECT_EQ(memory.direct_write(kData + 0x800, 1), nullptr);

  memory.write<uint32_t>(kData + 0xfd, 1);
  EXPECT_NE(memory.code().generation(kData / kPageSize, kWholePage), generation);
  EXPECT_NE(memory.direct_write(kData + 0x800, 1), nullptr);
}

TEST_F(MemoryCachesTest, OnlyThePiecesThatAreWrittenBecomeStale) {
  constexpr uint64_t kPage = kData / kPageSize;
  std::vector<CodePages::Pieces> told;
  memory.code().set_listener([&](uint64_t page, CodePages::Pieces stale) {
    EXPECT_EQ(page, kPage);
    told.push_back(stale);
  });
  memory.mark_code(kPage, CodePages::pieces(0, 0x7f));

  memory.write<uint8_t>(kData + 0x40, 1);
  memory.write<uint8_t>(kData + 0x41, 1);

  EXPECT_THAT(told, ElementsAre(2u));
  EXPECT_EQ(memory.code().generation(kPage, 1), 0u);
  EXPECT_EQ(memory.code().generation(kPage, 2), 1u);
  EXPECT_EQ(memory.code().generation(kPage, 3), 1u);
  EXPECT_TRUE(memory.code().holds_code(kPage));
}

TEST_F(MemoryCachesTest, CodeIsNoticedThroughEveryAddressOfThePage) {
  memory.write<uint8_t>(kAlias + 0x10, 1);
  memory.write<uint8_t>(0x10, 1);
  memory.mark_code(0, CodePages::pieces(0, 63));

  memory.write<uint8_t>(kAlias + 0x10, 2);
  EXPECT_EQ(memory.code().generation(0, kWholePage), 1u);

  memory.mark_code(0, CodePages::pieces(0, 63));
  memory.write<uint8_t>(0x10, 2);
  EXPECT_EQ(memory.code().generation(0, kWholePage), 2u);
}

TEST_F(MemoryCachesTest, OthersThatWriteMemoryMakeCodeStale) {
  memory.mark_code(1, CodePages::pieces(0xfc0, 0xfff));
  memory.mark_code(2, CodePages::pieces(0, 63));

  ASSERT_TRUE(ram.write({2 * kPageSize - 1}, Bytes{1, 2}, vm::Writer::device));

  EXPECT_EQ(memory.code().generation(1, kWholePage), 1u);
  EXPECT_EQ(memory.code().generation(2, kWholePage), 1u);
}

TEST_F(MemoryCachesTest, AccessedBitsInAPageOfCodeMakeItStale) {
  long_mode();
  memory.mark_code(kPt / kPageSize, CodePages::pieces(0, 63));

  memory.read<uint8_t>(kData);

  EXPECT_EQ(memory.code().generation(kPt / kPageSize, kWholePage), 1u);
}

TEST_F(MemoryCachesTest, NobodyListensAfterTheMemoryIsGone) {
  {
    AccessLog other_log;
    LinearMemory other(cpu, ram, other_log, features);
  }

  EXPECT_TRUE(ram.write({0}, Bytes{1}, vm::Writer::device));
}

TEST_F(MemoryCachesTest, FetchGivesFifteenBytesOfOnePage) {
  put(kData + 0xff1, 0x90);

  LinearMemory::Fetched fetched = memory.fetch(kData + 0xff1);

  EXPECT_EQ(fetched.size, 15);
  EXPECT_EQ(fetched.bytes[0], 0x90);
  EXPECT_EQ(fetched.page_count, 1);
  EXPECT_EQ(fetched.gpa, kData + 0xff1);
  EXPECT_EQ(memory.code_offset(kData + 0xff1), kData + 0xff1);
}

TEST_F(MemoryCachesTest, FetchLooksIntoTheSecondPageWithoutTouchingIt) {
  long_mode();
  put(pte(kData + kPageSize), 0x7000 | kAll);
  *ram.host(0x7000) = 0xc3;

  LinearMemory::Fetched fetched = memory.fetch(kData + 0xffe);

  EXPECT_EQ(fetched.size, 15);
  EXPECT_EQ(fetched.bytes[2], 0xc3);
  EXPECT_THAT(fetched.pages, ElementsAre(kData / kPageSize, 7u));
  EXPECT_EQ(get(pte(kData + kPageSize)), 0x7000 | kAll);
  EXPECT_EQ(memory.code_offset(kData + kPageSize), 0x7000u);
  EXPECT_EQ(get(pte(kData + kPageSize)), 0x7000 | kAll | kA);
}

TEST_F(MemoryCachesTest, FetchEndsWhereTheNextPageCannotBeFetched) {
  long_mode();
  put(pte(kData + kPageSize), 0);

  LinearMemory::Fetched fetched = memory.fetch(kData + 0xffe);

  EXPECT_EQ(fetched.size, 2);
  EXPECT_EQ(fetched.page_count, 1);
  EXPECT_EQ(fault_of([&] { memory.fetch_fault(kData + kPageSize); })->error_code, 0x10u);
  EXPECT_EQ(cpu.cr2, kData + kPageSize);
}

TEST_F(MemoryCachesTest, CodeInADeviceEndsTheEngineByName) {
  try {
    memory.fetch(kDevice + 4);
    FAIL() << "it was fetched";
  } catch (const EngineFailure& failure) {
    EXPECT_THAT(failure.what, HasSubstr("0x50004"));
    EXPECT_THAT(failure.next, Not(::testing::IsEmpty()));
  }
}

TEST_F(MemoryCachesTest, FetchesEndAtTheHoleOfTheLinearSpace) {
  long_mode();
  put(kPml4 + 255 * 8, kPdpt | kAll);
  put(kPml4 + 256 * 8, kPdpt | kAll);
  put(kPdpt + 511 * 8, kPd | kAll);
  put(kPd + 511 * 8, kPt | kAll);
  put(kPt + 511 * 8, kData | kAll);

  LinearMemory::Fetched fetched = memory.fetch(0x7fffffffffff);

  EXPECT_EQ(fetched.size, 1);
  EXPECT_EQ(fault_of([&] { memory.fetch_fault(0x800000000000); })->vector, kGeneralProtection);
}

// ---- Translations in use

TEST_F(MemoryCachesTest, AChangedEntryIsSeenWithoutInvlpg) {
  long_mode();
  put(0x7000, 0x77);
  EXPECT_EQ(memory.read<uint8_t>(kData), 0);

  memory.write<uint64_t>(pte(kData), 0x7000 | kAll);

  EXPECT_EQ(memory.read<uint8_t>(kData), 0x77);
}

TEST_F(MemoryCachesTest, AnAccessedBitThatWasClearedComesBackWithTheNextAccess) {
  long_mode();
  memory.write<uint8_t>(kData, 1);
  memory.code_offset(kData);
  uint64_t changes = memory.code().changes();

  memory.write<uint8_t>(pte(kData), kAll);
  EXPECT_NE(memory.code().changes(), changes);
  EXPECT_EQ(get(pte(kData)), kData | kAll);

  memory.code_offset(kData);
  EXPECT_EQ(get(pte(kData)), kData | kAll | kA);
  memory.write<uint8_t>(kData, 2);
  EXPECT_EQ(get(pte(kData)), kData | kAll | kA | kD);
}

TEST_F(MemoryCachesTest, AChangedUpperEntryIsSeen) {
  long_mode();
  put(kPdpt + 8, kPd | kAll);
  memory.read<uint8_t>(kData);

  memory.write<uint64_t>(kPd, 0);

  EXPECT_TRUE(fault_of([&] { memory.read<uint8_t>(kData); }));
}

TEST_F(MemoryCachesTest, TablesThatADeviceWritesAreSeen) {
  long_mode();
  memory.read<uint8_t>(kData);

  ASSERT_TRUE(ram.write({pte(kData)}, Bytes(8), vm::Writer::device));

  EXPECT_TRUE(fault_of([&] { memory.read<uint8_t>(kData); }));
}

TEST_F(MemoryCachesTest, ATableInTwoPlacesIsSeenInBoth) {
  long_mode();
  put(kPd + 8, kPt | kAll);
  memory.read<uint8_t>(kData);
  memory.read<uint8_t>(0x200000 + kData);

  memory.write<uint64_t>(pte(kData), 0);

  EXPECT_TRUE(fault_of([&] { memory.read<uint8_t>(kData); }));
  EXPECT_TRUE(fault_of([&] { memory.read<uint8_t>(0x200000 + kData); }));
}

TEST_F(MemoryCachesTest, LegacyEntriesOfFourBytesAreSeen) {
  cpu.cr0 = 0x80000001;
  cpu.cr3 = kPml4;
  put(kPml4, kPt | kAll);
  for (uint64_t page = 0; page < 32; page += 2) put(kPt + page * 4, (page << 12 | kAll) | ((page + 1) << 12 | kAll) << 32);
  memory.read<uint8_t>(0x3000);

  memory.write<uint32_t>(kPt + 3 * 4, 0);

  EXPECT_TRUE(fault_of([&] { memory.read<uint8_t>(0x3000); }));
  EXPECT_FALSE(fault_of([&] { memory.read<uint8_t>(0x2000); }));
}

class MemoryRootsTest : public MemoryTest {
 protected:
  static constexpr uint64_t kOtherRoot = 0x1c000, kOtherPdpt = 0x1d000, kRegion = uint64_t{1} << 39;

  /// Both roots lead to the same tables in the first region, to tables of their own in the second.
  MemoryRootsTest() {
    long_mode();
    put(kPml4 + 8, kPdpt | kAll | kA);
    put(kPml4, kPdpt | kAll | kA);
    put(kOtherRoot, kPdpt | kAll | kA);
    put(kOtherRoot + 8, kOtherPdpt | kAll | kA);
    put(kData, 0x11);
  }
  void switch_to(uint64_t root) { memory.root_changed(std::exchange(cpu.cr3, root)); }
};

TEST_F(MemoryRootsTest, TranslationsStayWhereBothRootsSayTheSame) {
  memory.read<uint8_t>(kData);
  switch_to(kOtherRoot);
  put(pte(kData), 0);  // behind its back: only who walks sees it

  EXPECT_EQ(memory.read<uint8_t>(kData), 0x11);
}

TEST_F(MemoryRootsTest, TranslationsGoWhereTheRootsDiffer) {
  memory.read<uint8_t>(kRegion + kData);
  switch_to(kOtherRoot);

  EXPECT_TRUE(fault_of([&] { memory.read<uint8_t>(kRegion + kData); }));
}

TEST_F(MemoryRootsTest, AnAccessedBitThatIsClearInTheOtherRootIsSet) {
  put(kOtherRoot, kPdpt | kAll);
  memory.read<uint8_t>(kData);
  switch_to(kOtherRoot);

  memory.read<uint8_t>(kData);

  EXPECT_EQ(get(kOtherRoot), kPdpt | kAll | kA);
}

TEST_F(MemoryRootsTest, TheNewRootIsWatchedForWhatStayed) {
  memory.write<uint64_t>(kOtherRoot + 16, 0);  // a page of data until now
  memory.read<uint8_t>(kData);
  switch_to(kOtherRoot);

  memory.write<uint64_t>(kOtherRoot, 0);

  EXPECT_TRUE(fault_of([&] { memory.read<uint8_t>(kData); }));
}

TEST_F(MemoryRootsTest, ARootThatIsNowhereDropsAll) {
  memory.read<uint8_t>(kData);
  switch_to(kDevice);

  EXPECT_TRUE(fault_of([&] { memory.read<uint8_t>(kData); }));
}

TEST_F(MemoryCachesTest, AChangedLargePageIsSeenWithoutInvlpg) {
  long_mode();
  put(kPd + 8, kAll | kPs);
  memory.read<uint8_t>(0x200000);
  memory.read<uint8_t>(0x203000);

  memory.write<uint64_t>(kPd + 8, 0);

  EXPECT_TRUE(fault_of([&] { memory.read<uint8_t>(0x203000); }));
}

TEST_F(MemoryCachesTest, PagesAreDirtyAgainAfterTheDirtySetWasTaken) {
  memory.write<uint8_t>(kData, 1);
  memory.write<uint8_t>(kData + kPageSize, 1);
  memory.mark_code(3, CodePages::pieces(0, 63));
  memory.forget_writable();
  EXPECT_THAT(ram.take_dirty(), ElementsAre(2u, 3u));

  memory.write<uint8_t>(kData, 2);
  memory.write<uint8_t>(kData + kPageSize + 0x800, 2);

  EXPECT_THAT(ram.take_dirty(), ElementsAre(2u, 3u));
}

TEST_F(MemoryCachesTest, APageThatBecomesATableIsWatchedFromThenOn) {
  long_mode();
  constexpr uint64_t kNewTable = 0x10000;
  memory.write<uint64_t>(kNewTable, kData | kAll);
  memory.write<uint64_t>(kPd + 8, kNewTable | kAll);
  memory.read<uint8_t>(0x200000);

  memory.write<uint64_t>(kNewTable, 0);

  EXPECT_TRUE(fault_of([&] { memory.read<uint8_t>(0x200000); }));
}

TEST_F(MemoryCachesTest, MorePagesThanAreRememberedAreFlushedAndDropped) {
  long_mode();
  for (uint64_t page = 0; page < 512; ++page) put(pte(page * kPageSize), page % 16 * kPageSize | kAll);
  for (uint64_t table = 1; table < 4; ++table) put(kPd + table * 8, kPt | kAll);
  for (uint64_t page = 0; page < 4 * 512; ++page) {
    memory.read<uint8_t>(page * kPageSize);
    memory.write<uint8_t>(page * kPageSize + 0xfff, 1);
  }
  uint64_t last = 4 * 512 * kPageSize - 1;  // in physical page 15
  memory.mark_code(15, CodePages::pieces(0, 4095));
  memory.write<uint8_t>(last, 1);
  EXPECT_EQ(memory.code().generation(15, kWholePage), 1u);

  put(kPd + 3 * 8, 0);  // behind its back
  memory.flush();

  EXPECT_TRUE(fault_of([&] { memory.read<uint8_t>(last); }));
}

}  // namespace
}  // namespace dejavm::soft
