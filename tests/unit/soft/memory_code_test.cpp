// Code that runs while its bytes or its page tables change.
#include "soft_fixture.h"

namespace dejavm::soft {
namespace {

constexpr uint64_t kPd = kTables + 0x2000, kPt = 0x10000;
constexpr uint64_t kAccessed = 0x20, kEntry = 7;

class MemoryCodeTest : public testing::Test {
 protected:
  MemoryCodeTest() { guest.long_mode(); }

  /// The first 2 MiB by 4 KiB pages, accessed and dirty but those of kData and the page behind it.
  void small_pages() {
    for (uint64_t page = 0; page < 512; ++page) {
      uint64_t at = page * vm::kPageSize;
      bool data = at == kData || at == kData + vm::kPageSize;
      guest.poke(kPt + page * 8, at | kEntry | (data ? 0 : 0x60));
    }
    guest.poke(kPd, kPt | kEntry | kAccessed);
  }
  uint64_t entry_of(uint64_t linear) { return guest.peek(kPt + (linear >> 12) * 8); }

  SoftGuest guest;
};

TEST_F(MemoryCodeTest, AStoreIntoTheNextInstructionIsSeen) {
  guest.code({0xc6, 0x05, 0x01, 0x00, 0x00, 0x00, 0x42,  // mov byte [rip+1], 0x42
              0xb0, 0x11});                              // mov al, 0x11

  EXPECT_TRUE(guest.step_quietly());
  EXPECT_TRUE(guest.step_quietly());

  EXPECT_EQ(guest.core().cpu.gpr[vm::rax], 0x42u);
}

TEST_F(MemoryCodeTest, BothPagesOfAnInstructionAreAccessed) {
  small_pages();
  guest.core().cpu.rip = kData + 0xfff;
  guest.code({0xeb, 0xfe}, kData + 0xfff);  // jmp to itself

  EXPECT_TRUE(guest.step_quietly());

  EXPECT_EQ(entry_of(kData), kData | kEntry | kAccessed);
  EXPECT_EQ(entry_of(kData + vm::kPageSize), (kData + vm::kPageSize) | kEntry | kAccessed);
}

TEST_F(MemoryCodeTest, TheSecondPageIsAccessedAgainInCodeThatWasDecodedBefore) {
  small_pages();
  guest.core().cpu.rip = kData + 0xfff;
  guest.code({0xeb, 0xfe}, kData + 0xfff);
  EXPECT_TRUE(guest.step_quietly());
  guest.poke(kPt + (kData >> 12) * 8 + 8, (kData + vm::kPageSize) | kEntry);

  EXPECT_TRUE(guest.step_quietly());

  EXPECT_EQ(entry_of(kData + vm::kPageSize), (kData + vm::kPageSize) | kEntry | kAccessed);
}

TEST_F(MemoryCodeTest, AnInstructionThatEndsBeforeThePageLeavesTheNextOneAlone) {
  small_pages();
  guest.core().cpu.rip = kData + 0xffe;
  guest.code({0xeb, 0xfe}, kData + 0xffe);

  EXPECT_TRUE(guest.step_quietly());

  EXPECT_EQ(entry_of(kData + vm::kPageSize), (kData + vm::kPageSize) | kEntry);
}

TEST_F(MemoryCodeTest, CodeThatClearsItsOwnAccessedBitGetsItBackWithTheNextInstruction) {
  small_pages();
  guest.core().cpu.rip = kData;
  guest.core().cpu.gpr[vm::rbx] = kPt + (kData >> 12) * 8;
  guest.code({0xc6, 0x03, 0x07,  // mov byte [rbx], 7
              0x90},
             kData);

  EXPECT_TRUE(guest.step_quietly());
  EXPECT_EQ(entry_of(kData), kData | kEntry);
  EXPECT_TRUE(guest.step_quietly());
  EXPECT_EQ(entry_of(kData), kData | kEntry | kAccessed);
}

TEST_F(MemoryCodeTest, CodeThatUnmapsItselfFaultsAtTheNextInstruction) {
  small_pages();
  guest.core().cpu.rip = kData;
  guest.core().cpu.gpr[vm::rbx] = kPt + (kData >> 12) * 8;
  guest.code({0xc6, 0x03, 0x00, 0x90}, kData);  // mov byte [rbx], 0
  guest.core().step_limit = guest.core().steps + 2;

  vm::Exit exit = guest.core().run(vm::RunMode::free);

  EXPECT_TRUE(std::holds_alternative<vm::StepLimit>(exit));
  EXPECT_EQ(guest.core().cpu.rip, kHandler);
  EXPECT_EQ(guest.core().cpu.cr2, kData + 3);
}

}  // namespace
}  // namespace dejavm::soft
