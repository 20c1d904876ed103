#include "engine/soft/page_walk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dejavm::soft {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kP = 1, kW = 2, kU = 4, kA = 0x20, kD = 0x40, kPs = 0x80, kG = 0x100, kNx = uint64_t{1} << 63;
constexpr uint64_t kAll = kP | kW | kU;
constexpr uint64_t kPg = 0x80000000, kWp = 0x10000, kPse = 0x10, kPae = 0x20, kSmep = 1u << 20, kSmap = 1u << 21;
constexpr uint64_t kLma = 0x500, kNxe = 0x800, kAc = 1u << 18;
constexpr uint64_t kRoot = 0x1000, kSecond = 0x2000, kThird = 0x3000, kFourth = 0x4000;
constexpr uint64_t kOutside = 0x100000;  // no memory there

class PageWalk : public testing::Test {
 protected:
  PageWalk() : memory(vm::GuestMemory::create(16 * vm::kPageSize, 0).value()) {
    EXPECT_TRUE(memory.set_map({{{0}, 16 * vm::kPageSize, 0, true}}));
    features.page1gb = true;
    cpu.cr0 = 1 | kPg;
    cpu.cr3 = kRoot;
  }

  void put(uint64_t gpa, uint64_t value) { store_le<uint64_t>(memory.host(gpa), value); }
  void put4(uint64_t gpa, uint32_t value) { store_le<uint32_t>(memory.host(gpa), value); }
  uint64_t get(uint64_t gpa) const { return load_le<uint64_t>(memory.host(gpa)); }

  void long_mode() {
    cpu.cr4 = kPae;
    cpu.efer = kLma | kNxe;
  }
  /// The 4 KiB page at `linear` 0x5000 of the first half, with these bits in the four levels.
  void map_long(uint64_t pml4e, uint64_t pdpte, uint64_t pde, uint64_t pte) {
    long_mode();
    put(kRoot, kSecond | pml4e);
    put(kSecond, kThird | pdpte);
    put(kThird, kFourth | pde);
    put(kFourth + 5 * 8, 0x9000 | pte);
  }

  Walk go(uint64_t linear, Reach reach = Reach::read, bool user = false, bool implicit = false) {
    return walk(cpu, memory, features, {linear, reach, user, implicit});
  }
  /// The error code of the fault, or -1.
  int fault(Reach reach, bool user = false, bool implicit = false, uint64_t linear = 0x5123) {
    Walk walked = go(linear, reach, user, implicit);
    return walked.fault ? static_cast<int>(walked.error_code) : -1;
  }

  vm::CpuState cpu = vm::reset_state();
  vm::GuestMemory memory;
  Features features;
};

TEST_F(PageWalk, WithoutPagingAnAddressMeansItself) {
  cpu.cr0 = 1;

  Walk walked = go(0xfee01234, Reach::write, true);

  EXPECT_FALSE(walked.fault);
  EXPECT_EQ(walked.gpa, 0xfee01234u);
  EXPECT_TRUE(walked.writable);
  EXPECT_TRUE(walked.user_page);
  EXPECT_EQ(walked.count, 0u);
}

TEST_F(PageWalk, FourLevelsLeadToASmallPage) {
  map_long(kAll, kAll, kAll, kAll | kG | kD);

  Walk walked = go(0x5123);

  EXPECT_EQ(walked.gpa, 0x9123u);
  EXPECT_EQ(walked.page_size, 4096u);
  EXPECT_TRUE(walked.user_page);
  EXPECT_TRUE(walked.global);
  EXPECT_TRUE(walked.dirty);
  ASSERT_EQ(walked.count, 4u);
  EXPECT_EQ(walked.steps[3].gpa, kFourth + 5 * 8);
  EXPECT_EQ(walked.steps[3].page, 4u);
}

TEST_F(PageWalk, TheUpperHalfUsesTheUpperEntries) {
  long_mode();
  put(kRoot + 511 * 8, kSecond | kAll);
  put(kSecond + 510 * 8, 0x40000000 | kAll | kPs);

  Walk walked = go(0xffffffff812345f0);

  EXPECT_FALSE(walked.fault);
  EXPECT_EQ(walked.gpa, 0x412345f0u);
  EXPECT_EQ(walked.page_size, uint64_t{1} << 30);
}

TEST_F(PageWalk, LargePagesOfLongModeWithThePatBit) {
  long_mode();
  put(kRoot, kSecond | kAll);
  put(kSecond, kThird | kAll);
  put(kThird + 8, 0x1a00000 | 0x1000 | kAll | kPs);

  Walk walked = go(0x200000 + 0x12345);

  EXPECT_FALSE(walked.fault);
  EXPECT_EQ(walked.gpa, 0x1a12345u);
  EXPECT_EQ(walked.page_size, uint64_t{2} << 20);
}

TEST_F(PageWalk, AGigabytePageIsReservedWithoutTheFeature) {
  long_mode();
  put(kRoot, kSecond | kAll);
  put(kSecond, kAll | kPs);
  features.page1gb = false;

  EXPECT_EQ(fault(Reach::read), 0x9);
}

TEST_F(PageWalk, NotPresentIsToldByKindOfAccess) {
  map_long(kAll, kAll, kAll, 0);

  EXPECT_EQ(fault(Reach::read), 0x0);
  EXPECT_EQ(fault(Reach::write), 0x2);
  EXPECT_EQ(fault(Reach::execute), 0x10);
  EXPECT_EQ(fault(Reach::read, true), 0x4);
  EXPECT_EQ(fault(Reach::write, true), 0x6);
  EXPECT_EQ(fault(Reach::execute, true), 0x14);
}

TEST_F(PageWalk, TheFetchBitWantsNxeOrSmep) {
  map_long(kAll, kAll, kAll, 0);
  cpu.efer = kLma;
  EXPECT_EQ(fault(Reach::execute), 0x0);

  cpu.cr4 |= kSmep;
  EXPECT_EQ(fault(Reach::execute), 0x10);
}

TEST_F(PageWalk, EveryLevelMustLetTheUserIn) {
  map_long(kAll, kAll, kAll, kAll);
  EXPECT_EQ(fault(Reach::read, true), -1);

  map_long(kAll, kP | kW, kAll, kAll);
  EXPECT_EQ(fault(Reach::read, true), 0x5);
  EXPECT_EQ(fault(Reach::read, false), -1);
}

TEST_F(PageWalk, EveryLevelMustAllowWritesOfTheUser) {
  map_long(kAll, kAll, kP | kU, kAll);

  EXPECT_EQ(fault(Reach::write, true), 0x7);
  EXPECT_EQ(fault(Reach::read, true), -1);
}

TEST_F(PageWalk, TheSupervisorWritesReadOnlyPagesUnlessWriteProtectIsSet) {
  map_long(kAll, kAll, kAll, kP | kU);
  EXPECT_EQ(fault(Reach::write), -1);

  cpu.cr0 |= kWp;
  EXPECT_EQ(fault(Reach::write), 0x3);
}

TEST_F(PageWalk, NoExecuteAtAnyLevelForbidsFetches) {
  map_long(kAll, kAll | kNx, kAll, kAll);

  EXPECT_EQ(fault(Reach::execute), 0x11);
  EXPECT_EQ(fault(Reach::execute, true), 0x15);
  EXPECT_EQ(fault(Reach::read), -1);
}

TEST_F(PageWalk, NoExecuteIsReservedWithoutNxe) {
  map_long(kAll, kAll, kAll, kAll | kNx);
  cpu.efer = kLma;

  EXPECT_EQ(fault(Reach::read), 0x9);
}

TEST_F(PageWalk, SmepKeepsTheSupervisorFromExecutingUserPages) {
  map_long(kAll, kAll, kAll, kAll);
  cpu.cr4 |= kSmep;

  EXPECT_EQ(fault(Reach::execute), 0x11);
  EXPECT_EQ(fault(Reach::execute, true), -1);
  EXPECT_EQ(fault(Reach::read), -1);
}

TEST_F(PageWalk, SmapGuardsUserPagesUnlessAcIsSet) {
  map_long(kAll, kAll, kAll, kAll);
  cpu.cr4 |= kSmap;
  EXPECT_EQ(fault(Reach::read), 0x1);
  EXPECT_EQ(fault(Reach::write), 0x3);
  EXPECT_EQ(fault(Reach::execute), -1);
  EXPECT_EQ(fault(Reach::read, true), -1);

  cpu.rflags |= kAc;
  EXPECT_EQ(fault(Reach::read), -1);
  EXPECT_TRUE(go(0x5000).opened_by_ac);
  EXPECT_EQ(fault(Reach::read, false, true), 0x1);
}

TEST_F(PageWalk, AddressBitsAboveThePhysicalWidthAreReserved) {
  map_long(kAll, kAll, kAll, kAll | uint64_t{1} << 40);
  EXPECT_EQ(fault(Reach::write, true), 0xf);

  features.physical_bits = 41;
  EXPECT_EQ(fault(Reach::write, true), -1);
}

TEST_F(PageWalk, SoftwareBitsOfLongModeAreFree) {
  map_long(kAll | 0x7ff0'0000'0000'0e00, kAll | 0x7ff0'0000'0000'0f00, kAll | 0x7ff0'0000'0000'0e00,
           kAll | 0x7ff0'0000'0000'0e00);

  EXPECT_EQ(fault(Reach::read), -1);
}

TEST_F(PageWalk, ReservedBitsOfThePml4eAndOfLargePages) {
  map_long(kAll | kPs, kAll, kAll, kAll);
  EXPECT_EQ(fault(Reach::read), 0x9);

  map_long(kAll, kAll, kAll | kPs | 0x2000, kAll);
  EXPECT_EQ(fault(Reach::read), 0x9);
}

TEST_F(PageWalk, AReservedBitIsToldBeforeAMissingPermission) {
  map_long(kP, kP, kP, kP | uint64_t{1} << 45);

  EXPECT_EQ(fault(Reach::write, true), 0xf);
}

TEST_F(PageWalk, TablesOutsideOfMemoryAreNotPresent) {
  map_long(kAll, kAll, kAll, kAll);
  put(kSecond, kOutside | kAll);
  EXPECT_EQ(fault(Reach::write, true), 0x6);

  cpu.cr3 = 0xfffffffff000;
  EXPECT_EQ(fault(Reach::read), 0x0);
}

TEST_F(PageWalk, LegacyTablesOfTwoLevels) {
  put4(kRoot + 4, kSecond | kAll);
  put4(kSecond + 3 * 4, 0xfebc0000 | kP | kU);

  Walk walked = go(0x403456);

  EXPECT_EQ(walked.gpa, 0xfebc0456u);
  EXPECT_EQ(walked.count, 2u);
  EXPECT_EQ(fault(Reach::write, true, false, 0x403456), 0x7);
  EXPECT_EQ(fault(Reach::execute, true, false, 0x403456), -1);
}

TEST_F(PageWalk, LegacyFetchFaultsHaveNoFetchBitEvenWithNxe) {
  cpu.efer = kNxe;

  EXPECT_EQ(fault(Reach::execute, true), 0x4);
}

TEST_F(PageWalk, LegacyLargePagesWithTheHighAddressBits) {
  cpu.cr4 = kPse;
  put4(kRoot + 4, 0x12c00000 | uint32_t{0xab} << 13 | kPs | kAll);

  Walk walked = go(0x412345);

  EXPECT_FALSE(walked.fault);
  EXPECT_EQ(walked.gpa, 0xab12c12345u);
  EXPECT_EQ(walked.page_size, uint64_t{4} << 20);
}

TEST_F(PageWalk, LegacyLargePagesHaveReservedBits) {
  cpu.cr4 = kPse;
  put4(kRoot, 1u << 21 | kPs | kAll);
  EXPECT_EQ(fault(Reach::read), 0x9);

  put4(kRoot, 1u << 20 | kPs | kAll);
  EXPECT_EQ(fault(Reach::read), -1);
  features.physical_bits = 39;
  EXPECT_EQ(fault(Reach::read), 0x9);
}

TEST_F(PageWalk, WithoutPseTheSizeBitMeansNothing) {
  put4(kRoot, kSecond | kPs | kAll);
  put4(kSecond + 5 * 4, 0x9000 | kAll);

  EXPECT_EQ(go(0x5123).gpa, 0x9123u);
}

TEST_F(PageWalk, PaeHasAFirstLevelOfFourEntriesAt32Bytes) {
  cpu.cr4 = kPae;
  cpu.cr3 = kRoot + 0x20;
  put(kRoot + 0x20 + 3 * 8, kSecond | kP);
  put(kSecond + 8, kThird | kAll);
  put(kThird + 8, 0x9000 | kAll);

  Walk walked = go(0xc0201abc, Reach::write, true);

  EXPECT_FALSE(walked.fault);
  EXPECT_EQ(walked.gpa, 0x9abcu);
  EXPECT_FALSE(walked.steps[0].has_accessed);
}

TEST_F(PageWalk, PaeLargePagesAndReservedBits) {
  cpu.cr4 = kPae;
  put(kRoot, kSecond | kP);
  put(kSecond, 0x600000 | kAll | kPs);
  EXPECT_EQ(go(0x5123).gpa, 0x605123u);

  put(kSecond, 0x600000 | kAll | kPs | uint64_t{1} << 52);
  EXPECT_EQ(fault(Reach::read), 0x9);

  put(kRoot, kSecond | kP | kW);
  EXPECT_EQ(fault(Reach::read), 0x9);
}

TEST_F(PageWalk, AccessedBitsAreSetAtEveryLevelAndDirtyAtTheLeafOfAWrite) {
  map_long(kAll, kAll, kAll, kAll);
  Walk read = go(0x5123);
  set_accessed(memory, read, Reach::read);
  EXPECT_EQ(get(kRoot), kSecond | kAll | kA);
  EXPECT_EQ(get(kSecond), kThird | kAll | kA);
  EXPECT_EQ(get(kThird), kFourth | kAll | kA);
  EXPECT_EQ(get(kFourth + 5 * 8), 0x9000 | kAll | kA);
  EXPECT_FALSE(read.dirty);

  Walk written = go(0x5123, Reach::write);
  set_accessed(memory, written, Reach::write);
  EXPECT_EQ(get(kThird), kFourth | kAll | kA);
  EXPECT_EQ(get(kFourth + 5 * 8), 0x9000 | kAll | kA | kD);
  EXPECT_TRUE(written.dirty);
}

TEST_F(PageWalk, ThePdptesOfPaeHaveNoAccessedBit) {
  cpu.cr4 = kPae;
  put(kRoot, kSecond | kP);
  put(kSecond, 0x600000 | kAll | kPs);

  Walk walked = go(0x5123, Reach::write);
  set_accessed(memory, walked, Reach::write);

  EXPECT_EQ(get(kRoot), kSecond | kP);
  EXPECT_EQ(get(kSecond), 0x600000 | kAll | kPs | kA | kD);
}

TEST_F(PageWalk, BitsThatAreSetAlreadyChangeNoPage) {
  map_long(kAll | kA, kAll | kA, kAll | kA, kAll | kA);

  Walk read = go(0x5123);
  set_accessed(memory, read, Reach::read);
  EXPECT_THAT(memory.take_dirty(), IsEmpty());

  Walk written = go(0x5123, Reach::write);
  set_accessed(memory, written, Reach::write);
  EXPECT_THAT(memory.take_dirty(), ElementsAre(4u));
}

TEST_F(PageWalk, TablesInRomKeepTheirBits) {
  map_long(kAll, kAll, kAll, kAll);
  ASSERT_TRUE(memory.set_map({{{0}, 16 * vm::kPageSize, 0, false}}));

  Walk walked = go(0x5123, Reach::write);
  set_accessed(memory, walked, Reach::write);

  EXPECT_FALSE(walked.fault);
  EXPECT_EQ(get(kRoot), kSecond | kAll);
}

}  // namespace
}  // namespace dejavm::soft
