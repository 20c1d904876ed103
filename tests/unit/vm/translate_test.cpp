#include "vm/translate.h"

#include <gmock/gmock.h>

#include "vm/mappings.h"

namespace dejavm::vm {
namespace {

constexpr uint64_t kPresentFlag = 1, kLargeFlag = 0x80;

/// 1 MiB of RAM at 0 in which a test builds page tables.
class Translate : public testing::Test {
 protected:
  Translate() { EXPECT_TRUE(memory_.set_map({{{0}, 0x100000, 0, true}})); }

  template <typename Entry>
  void put(uint64_t table, uint64_t index, uint64_t value) {
    store_le(memory_.host(table + index * sizeof(Entry)), static_cast<Entry>(value));
  }
  /// The physical address, or UINT64_MAX.
  uint64_t to(uint64_t addr) {
    auto gpa = translate(cpu_, memory_, {addr});
    return gpa ? gpa->value : UINT64_MAX;
  }
  std::string error(uint64_t addr) { return translate(cpu_, memory_, {addr}).error().what; }

  void paging(uint64_t cr3, uint64_t cr4, uint64_t efer) {
    cpu_.cr0 = 0x80000001;
    cpu_.cr3 = cr3;
    cpu_.cr4 = cr4;
    cpu_.efer = efer;
  }

  GuestMemory memory_ = GuestMemory::create(0x100000, 0).value();
  CpuState cpu_;
};

constexpr uint64_t kPse = 1u << 4, kPae = 1u << 5, kLma = 1u << 10;

TEST_F(Translate, WithoutPagingAddressesAreThemselves) {
  EXPECT_EQ(to(0x1234), 0x1234u);
  EXPECT_EQ(to(0xfebc0000), 0xfebc0000u);
}

TEST_F(Translate, TwoLevelsOf32BitPaging) {
  paging(0x1018, 0, 0);  // flag bits of CR3 do not count
  put<uint32_t>(0x1000, 0x300, 0x2000 | kPresentFlag);
  put<uint32_t>(0x2000, 5, 0x7000 | kPresentFlag);

  EXPECT_EQ(to(0xc0005678), 0x7678u);
  EXPECT_EQ(error(0xc0006000), "linear address 0xc0006000 is not mapped by the guest's page tables");
  EXPECT_EQ(to(0x5000), UINT64_MAX);
}

TEST_F(Translate, LargePagesNeedPse) {
  put<uint32_t>(0x1000, 1, 0x00c00000 | 1u << 13 | kLargeFlag | kPresentFlag);
  paging(0x1000, kPse, 0);
  uint64_t with_pse = to(0x00712345);
  paging(0x1000, 0, 0);

  EXPECT_EQ(with_pse, 0x100f12345u);      // bit 13 of the entry is bit 32 of the address
  EXPECT_EQ(to(0x00712345), UINT64_MAX);  // without PSE it is a page table, and it lies outside RAM
}

TEST_F(Translate, Pae) {
  paging(0x1020, kPae, 0);  // the table is 32-byte aligned only
  put<uint64_t>(0x1020, 3, 0x2000 | kPresentFlag);
  put<uint64_t>(0x2000, 1, 0x3000 | kPresentFlag);
  put<uint64_t>(0x2000, 2, 0x8000000000600000 | kLargeFlag | kPresentFlag);  // NX
  put<uint64_t>(0x3000, 2, 0x100009000 | kPresentFlag);

  EXPECT_EQ(to(0xc0202abc), 0x100009abcu);
  EXPECT_EQ(to(0xc0412345), 0x612345u);
  EXPECT_EQ(to(0x40202abc), UINT64_MAX);
}

TEST_F(Translate, LongModeWithPagesOfAllSizes) {
  paging(0x1000, kPae, kLma);
  put<uint64_t>(0x1000, 0x1ff, 0x2000 | kPresentFlag);
  put<uint64_t>(0x2000, 0, 0x3000 | kPresentFlag);
  put<uint64_t>(0x2000, 1, 0x40000000 | kLargeFlag | kPresentFlag);
  put<uint64_t>(0x3000, 0, 0x4000 | kPresentFlag);
  put<uint64_t>(0x3000, 1, 0x00a00000 | kLargeFlag | kPresentFlag);
  put<uint64_t>(0x4000, 7, 0x9000 | kPresentFlag);

  EXPECT_EQ(to(0xffffff8000007123), 0x9123u);
  EXPECT_EQ(to(0xffffff8000212345), 0xa12345u);
  EXPECT_EQ(to(0xffffff8052345678), 0x52345678u);
  EXPECT_EQ(to(0xffffff8000008000), UINT64_MAX);
}

TEST_F(Translate, AddressesThatAreNotCanonicalAreNamed) {
  paging(0x1000, kPae, kLma);

  EXPECT_EQ(error(0x0000800000000000), "linear address 0x800000000000 is not canonical");
  EXPECT_EQ(error(0xff00000000000000), "linear address 0xff00000000000000 is not canonical");
}

TEST_F(Translate, TablesOutsideMemoryFail) {
  paging(0x7ffff000, kPae, kLma);

  EXPECT_THAT(error(0), testing::HasSubstr("is not memory"));
}

TEST_F(Translate, ReadsAndWritesFollowEachPage) {
  paging(0x1000, 0, 0);
  put<uint32_t>(0x1000, 0, 0x2000 | kPresentFlag);
  put<uint32_t>(0x2000, 1, 0x9000 | kPresentFlag);
  put<uint32_t>(0x2000, 2, 0x5000 | kPresentFlag);
  Bytes back(4);

  Status written = write_virtual(cpu_, memory_, {0x1ffe}, Bytes{1, 2, 3, 4}, Writer::debugger);
  size_t got = read_virtual(cpu_, memory_, {0x1ffe}, back);

  EXPECT_TRUE(written);
  EXPECT_EQ(got, 4u);
  EXPECT_THAT(back, testing::ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(*memory_.host(0x9fff), 2);
  EXPECT_EQ(*memory_.host(0x5000), 3);
}

TEST_F(Translate, AReadGivesWhatThereIsAndAWriteAllOrNothing) {
  paging(0x1000, 0, 0);
  put<uint32_t>(0x1000, 0, 0x2000 | kPresentFlag);
  put<uint32_t>(0x2000, 1, 0x9000 | kPresentFlag);
  put<uint32_t>(0x2000, 4, 0xf0000000 | kPresentFlag);  // a device
  Bytes back(4);

  EXPECT_EQ(read_virtual(cpu_, memory_, {0x1ffe}, back), 2u);
  EXPECT_EQ(read_virtual(cpu_, memory_, {0x4000}, back), 0u);
  EXPECT_FALSE(write_virtual(cpu_, memory_, {0x1ffe}, Bytes{1, 2, 3, 4}, Writer::debugger));
  EXPECT_EQ(*memory_.host(0x9ffe), 0);
}

// ---- All of the tables

class Mappings : public Translate {
 protected:
  std::vector<std::string> all() {
    std::vector<std::string> lines;
    complete_ = for_each_mapping(cpu_, memory_, [&](const PageMapping& page) {
      lines.push_back(fmt::format("{:x} {:x} {:x} {}{}", page.linear.value, page.physical.value, page.size,
                                  (page.rights & kPteUser) != 0 ? 'u' : '-', (page.rights & kPteWritable) != 0 ? 'w' : '-'));
      EXPECT_EQ(to(page.linear.value), page.physical.value);
      EXPECT_EQ(to(page.linear.value + page.size - 1), page.physical.value + page.size - 1);
      return true;
    });
    return lines;
  }
  bool complete_ = false;
};

TEST_F(Mappings, NoneWithoutPaging) { EXPECT_TRUE(all().empty()); }

TEST_F(Mappings, LongModeWithEverySizeAndTheRightsOfAllLevels) {
  paging(0x1000, kPae, kLma);
  put<uint64_t>(0x1000, 0, 0x2000 | 7);
  put<uint64_t>(0x1000, 511, 0x2000 | 3);  // the upper half shows the same, for the kernel only
  put<uint64_t>(0x2000, 1, 0x40000000 | kLargeFlag | 5);
  put<uint64_t>(0x2000, 2, 0x3000 | 7);
  put<uint64_t>(0x3000, 0, 0x200000 | kLargeFlag | 7);
  put<uint64_t>(0x3000, 1, 0x4000 | 1);
  put<uint64_t>(0x4000, 511, 0x7000 | 7);

  EXPECT_THAT(all(), testing::ElementsAre("40000000 40000000 40000000 u-", "80000000 200000 200000 uw",
                                          "803ff000 7000 1000 --", "ffffff8040000000 40000000 40000000 --",
                                          "ffffff8080000000 200000 200000 -w", "ffffff80803ff000 7000 1000 --"));
  EXPECT_TRUE(complete_);
}

TEST_F(Mappings, TwoLevelsAndPae) {
  put<uint32_t>(0x1000, 1, 0x00c00000 | kLargeFlag | 3);
  put<uint32_t>(0x1000, 2, 0x2000 | 7);
  put<uint32_t>(0x2000, 3, 0x9000 | 7);
  paging(0x1000, kPse, 0);
  EXPECT_THAT(all(), testing::ElementsAre("400000 c00000 400000 -w", "803000 9000 1000 uw"));

  put<uint64_t>(0x5000, 3, 0x6000 | kPresentFlag);
  put<uint64_t>(0x6000, 0, 0x400000 | kLargeFlag | 7);
  paging(0x5000, kPae, 0);
  EXPECT_THAT(all(), testing::ElementsAre("c0000000 400000 200000 uw"));
}

TEST_F(Mappings, TablesThatLeadToThemselvesEnd) {
  for (uint64_t i = 0; i < 512; ++i) put<uint64_t>(0x1000, i, 0x1000 | 7);
  paging(0x1000, kPae, kLma);
  uint64_t seen = 0;

  EXPECT_FALSE(for_each_mapping(
      cpu_, memory_, [&](const PageMapping&) { return ++seen != 0; }, 10'000));
  EXPECT_LT(seen, 10'000u);
  EXPECT_TRUE(for_each_mapping(
      cpu_, memory_, [](const PageMapping&) { return false; }, 10'000))
      << "the visitor ended it";
}

}  // namespace
}  // namespace dejavm::vm
