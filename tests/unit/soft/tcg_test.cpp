// What vm::CpuKind::tcg does other than amd (tcg_flags.h): integer instructions, memory, control.
#include <cstring>

#include "tcg_fixture.h"

namespace dejavm::soft {
namespace {

TEST_F(Kinds, AReadModifyWriteFaultsAsAReadLockedOrNot) {
  constexpr std::pair<uint64_t, uint64_t> kWriteAndRead{2, 0};
  EXPECT_EQ(page_fault_errors({0x01, 0x06}), kWriteAndRead);                    // add [rsi], eax
  EXPECT_EQ(page_fault_errors({0xf0, 0x01, 0x06}), kWriteAndRead);              // lock add [rsi], eax
  EXPECT_EQ(page_fault_errors({0x0f, 0xb1, 0x16}), kWriteAndRead);              // cmpxchg [rsi], edx
  EXPECT_EQ(page_fault_errors({0xf0, 0x0f, 0xb1, 0x16}), kWriteAndRead);        // lock cmpxchg [rsi], edx
  EXPECT_EQ(page_fault_errors({0xf0, 0x0f, 0xc7, 0x0e}), kWriteAndRead);        // lock cmpxchg8b [rsi]
  EXPECT_EQ(page_fault_errors({0x87, 0x06}), kWriteAndRead);                    // xchg [rsi], eax
  EXPECT_EQ(page_fault_errors({0xf0, 0x0f, 0xba, 0x2e, 0x01}), kWriteAndRead);  // lock bts [rsi], 1
  EXPECT_EQ(page_fault_errors({0xd1, 0x26}), kWriteAndRead);                    // shl [rsi], 1
}

TEST_F(Kinds, AWriteFaultsAsAWrite) {
  EXPECT_EQ(page_fault_errors({0x89, 0x06}), std::pair(uint64_t{2}, uint64_t{2}));  // mov [rsi], eax
}

TEST_F(Kinds, AReadModifyWriteOfAPageThatMayOnlyBeReadFaultsAsAWriteAndHasMarkedItAccessed) {
  tcg_.long_mode();
  constexpr uint64_t kSmallTables = 0x10000, kPresent = 5, kAccessed = 0x20;
  tcg_.map_small_pages(kSmallTables, {kData});
  tcg_.poke(kSmallTables + 0x3000, kData | kPresent);
  tcg_.cpu().cr3 = kSmallTables;
  tcg_.cpu().cr0 |= 1 << 16;
  vm::CpuState state = tcg_.cpu();
  tcg_.core().set_state(state);
  tcg_.gpr(vm::rsi) = SoftGuest::kSmallPages;
  tcg_.code({0xf0, 0x01, 0x06});  // lock add [rsi], eax
  tcg_.step();
  EXPECT_EQ(tcg_.peek(tcg_.gpr(vm::rsp)), 3u);
  EXPECT_EQ(tcg_.peek(kSmallTables + 0x3000), kData | kPresent | kAccessed);
}

TEST_F(Kinds, AByteSwapOf16BitsIsThatOf32) {
  tcg_.long_mode();
  tcg_.gpr(vm::rax) = 0x1122334455667788;
  tcg_.code({0x66, 0x0f, 0xc8});  // bswap ax
  EXPECT_TRUE(tcg_.step_quietly());
  EXPECT_EQ(tcg_.gpr(vm::rax), 0x88776655u);
}

TEST_F(Kinds, AStackThatIsNotCanonicalIsAGeneralProtectionFault) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->poke(kIdt + 16 * kStackFault, (kHandler + 1) | uint64_t{kCode64} << 16 | uint64_t{0x8e} << 40);
    guest->gpr(vm::rbp) = uint64_t{1} << 47;
    guest->code({0x8b, 0x45, 0x00});  // mov eax, [rbp]
    guest->step();
  }
  EXPECT_EQ(amd_.cpu().rip, kHandler + 1);
  EXPECT_EQ(tcg_.cpu().rip, kHandler);
}

TEST_F(Kinds, DecimalAdjustments) {
  EXPECT_EQ(flags_after({0x27}, 0x7a, kOf).second, kAf | kSf);                                         // daa: 0x80
  EXPECT_EQ(flags_after({0x2f}, 0x05, kAf), std::pair(kSf | kPf | kAf | kCf, kSf | kPf | kAf | kCf));  // das: 0xff
  EXPECT_EQ(flags_after({0x37}, 0x0b, kSf | kOf | kZf).second, kSf | kOf | kZf | kAf | kCf);           // aaa
  EXPECT_EQ(flags_after({0x3f}, 0x03, kSf | kCf).second, kSf);                                         // aas
  EXPECT_EQ(flags_after({0xd4, 0x0a}, 0x00, kOf | kAf | kCf).second, kZf | kPf);                       // aam
  EXPECT_EQ(flags_after({0xd5, 0x0a}, 0x0909, kOf | kAf | kCf).second, kPf);                           // aad: 99
}

TEST_F(Kinds, UndefinedFlags) {
  EXPECT_EQ(flags_after({0xc1, 0xe0, 0x04}, 0x11, kAf).second, uint64_t{0});                  // shl eax, 4: 0x110
  EXPECT_EQ(flags_after({0x0f, 0xaf, 0xc0}, 0x10, kAf | kCf | kOf).second, kPf);              // imul eax, eax: 0x100
  EXPECT_EQ(flags_after({0x0f, 0xbc, 0xc0}, 0x80000000, kAf | kCf | kOf).second, kPf | kSf);  // bsf eax, eax
}

TEST_F(Kinds, AReadBeyondTheLimitOfASegmentIsNoFault) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->protected_mode();
    guest->cpu().segment[vm::ds].limit = 0xfff;
    guest->core().state_changed();
    guest->poke(kData, 0x12345678, 4);
    guest->gpr(vm::rsi) = kData;
    guest->code({0x8b, 0x06});  // mov eax, [esi]
    guest->step();
  }
  EXPECT_NE(amd_.cpu().rip, kCode + 2);
  EXPECT_EQ(tcg_.cpu().rip, kCode + 2);
  EXPECT_EQ(tcg_.gpr(vm::rax), 0x12345678u);
}

TEST_F(Kinds, APushOfASelectorClearsTheUpperHalf) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->protected_mode();
    guest->gpr(vm::rsp) = kData + 8;
    guest->poke(kData + 4, UINT32_MAX, 4);
    guest->code({0x1e});  // push ds
    EXPECT_TRUE(guest->step_quietly());
  }
  EXPECT_EQ(amd_.peek(kData + 6, 2), 0xffffu);
  EXPECT_EQ(tcg_.peek(kData + 6, 2), 0u);
}

TEST_F(Kinds, AReturnThatIsNotCanonicalFaultsBehindTheReturn) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->gpr(vm::rsp) = kData;
    guest->poke(kData, uint64_t{1} << 47);
    guest->code({0xc3});  // ret
    guest->step();
  }
  EXPECT_EQ(amd_.cpu().rip, kHandler);
  EXPECT_EQ(tcg_.cpu().rip, uint64_t{1} << 47);
  tcg_.step();
  EXPECT_EQ(tcg_.cpu().rip, kHandler);
}

/// The transfer leaves the descriptor as it is, and the state shows the segment accessed all the same, as KVM's does.
TEST_F(Kinds, AFarReturnDoesNotMarkTheCodeSegmentAccessed) {
  constexpr uint64_t kNotAccessed = 0x00af9a000000ffff, kAccessed = uint64_t{1} << 40;
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->poke(kGdt + kCode32, kNotAccessed);
    guest->gpr(vm::rsp) = kData;
    guest->poke(kData, kCode + 0x100);
    guest->poke(kData + 8, kCode32);
    guest->code({0x48, 0xcb});  // retfq
    EXPECT_TRUE(guest->step_quietly());
    EXPECT_EQ(guest->cpu().segment[vm::cs].selector, kCode32);
    EXPECT_EQ(guest->cpu().segment[vm::cs].type, 11);
  }
  EXPECT_EQ(amd_.peek(kGdt + kCode32), kNotAccessed | kAccessed);
  EXPECT_EQ(tcg_.peek(kGdt + kCode32), kNotAccessed);
}

/// TCG comes back to a REP string instruction whose count has become zero, and interrupts enter there.
TEST_F(Kinds, AMatchedStateBehindTheLastIterationIsFound) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->code({0xf3, 0xaa, 0xf4});  // rep stosb; hlt
    guest->gpr(vm::rdi) = kData;
    guest->gpr(vm::rcx) = 5;
    vm::CpuState state = guest->cpu();
    state.gpr[vm::rcx] = 0;
    state.gpr[vm::rdi] = kData + 5;
    guest->core().awaited = &state;
    guest->core().set_breakpoints({kCode});
    bool found = std::holds_alternative<vm::BreakpointHit>(guest->run());
    EXPECT_EQ(found, guest == &tcg_);
    if (found) {
      EXPECT_EQ(guest->cpu().rip, kCode);
      EXPECT_EQ(guest->gpr(vm::rcx), 0u);
      EXPECT_TRUE(std::holds_alternative<vm::Halted>(guest->run()));
      EXPECT_EQ(guest->cpu().rip, kCode + 3);
    }
    guest->core().awaited = nullptr;
  }
}

TEST_F(Kinds, ABranchBeyondTheLimitOfTheCodeSegmentIsNoFault) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->real_mode();
    guest->code({0x66, 0xe9, 0x00, 0x00, 0x01, 0x00});  // jmp +0x10000
    guest->step();
  }
  EXPECT_EQ(amd_.cpu().rip, kHandler);
  EXPECT_EQ(tcg_.cpu().rip, kCode + 6 + 0x10000);
}

TEST_F(Kinds, AnOperandSizePrefixDoesNotCutARelativeTarget) {
  constexpr uint64_t kHigh = 0x18000;
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->cpu().rip = kHigh;
    guest->gpr(vm::rsp) = kData + 8;
    guest->code({0x66, 0xe8, 0x10, 0x00}, kHigh);  // data16 call +0x10
    EXPECT_TRUE(guest->step_quietly());
    EXPECT_EQ(guest->gpr(vm::rsp), kData + 6);
    EXPECT_EQ(guest->peek(kData + 6, 2), 0x8004u);
  }
  EXPECT_EQ(amd_.cpu().rip, 0x8014u);
  EXPECT_EQ(tcg_.cpu().rip, kHigh + 0x14);
}

TEST_F(Kinds, APrefixIsNotTheConditionOfALoop) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->gpr(vm::rcx) = 2;
    guest->code({0xf2, 0xe1, 0x10});  // repne loope +0x10, with ZF clear
    EXPECT_TRUE(guest->step_quietly());
  }
  EXPECT_EQ(amd_.cpu().rip, kCode + 0x13);
  EXPECT_EQ(tcg_.cpu().rip, kCode + 3);
}

TEST_F(Kinds, APrefetchOfARegisterIsUndefined) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->code({0x0f, 0x18, 0xc8});  // prefetcht0 eax
    guest->step();
  }
  EXPECT_EQ(amd_.cpu().rip, kCode + 3);
  EXPECT_EQ(tcg_.cpu().rip, kHandler);
}

TEST_F(Kinds, AComparisonOfStringsReadsTheSecondFirst) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->gpr(vm::rsi) = kRamSize;
    guest->gpr(vm::rdi) = kRamSize + 0x100000;
    guest->code({0xa6});  // cmpsb
    guest->step();
  }
  EXPECT_EQ(amd_.cpu().cr2, kRamSize);
  EXPECT_EQ(tcg_.cpu().cr2, kRamSize + 0x100000);
}

TEST_F(Kinds, ACrcTakes32BitsWithoutAPrefixAnd16WithOne) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    vm::CpuModel model = of_kind(guest == &amd_ ? vm::CpuKind::amd : vm::CpuKind::tcg);
    for (vm::CpuidLeaf& leaf : model.cpuid) {
      if (leaf.function == 1) leaf.ecx |= 1 << 20;  // SSE4.2
    }
    SoftGuest with_crc(model);
    auto crc = [&](std::initializer_list<int> instruction) {
      with_crc.real_mode();
      with_crc.gpr(vm::rcx) = 0x12345678;
      with_crc.code(instruction);
      EXPECT_TRUE(with_crc.step_quietly());
      return with_crc.gpr(vm::rax);
    };
    uint64_t plain = crc({0xf2, 0x0f, 0x38, 0xf1, 0xc1}), prefixed = crc({0x66, 0xf2, 0x0f, 0x38, 0xf1, 0xc1});
    uint64_t of_byte = crc({0xf2, 0x0f, 0x38, 0xf0, 0xc1});
    with_crc.real_mode();
    with_crc.gpr(vm::rcx) = 0x56;
    with_crc.gpr(vm::rax) = of_byte;
    with_crc.code({0xf2, 0x0f, 0x38, 0xf0, 0xc1});
    EXPECT_TRUE(with_crc.step_quietly());
    uint64_t of_word = with_crc.gpr(vm::rax);
    EXPECT_EQ(guest == &amd_ ? plain : prefixed, of_word);
    EXPECT_NE(guest == &amd_ ? prefixed : plain, of_word);
  }
}

TEST_F(Kinds, ADoubleShiftByAConstantTakesAnAddressRelativeToItsLastByte) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->poke(kCode + 0x100, 0x1122334455667788);
    guest->code({0x0f, 0xa4, 0x05, 0xf8, 0x00, 0x00, 0x00, 0x08});  // shld [rip + 0xf8], eax, 8
    EXPECT_TRUE(guest->step_quietly());
  }
  EXPECT_EQ(amd_.peek(kCode + 0x100), 0x1122334466778800u);
  EXPECT_EQ(tcg_.peek(kCode + 0x100), 0x1122334455778800u);
}

TEST_F(Kinds, EnterDoesNotProbeTheNewStack) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->gpr(vm::rsp) = kData;
    guest->gpr(vm::rbp) = 0x55;
    guest->poke(kIdt + 16 * kPageFault, kHandler | uint64_t{kCode64} << 16 | uint64_t{0x8e} << 40);
    guest->map_small_pages(0x10000, {kData});
    guest->gpr(vm::rsp) = SoftGuest::kSmallPages + 0x1000;
    guest->cpu().cr3 = 0x10000;
    vm::CpuState state = guest->cpu();
    guest->core().set_state(state);
    guest->code({0xc8, 0x00, 0x20, 0x00});  // enter 0x2000, 0
    guest->step();
  }
  EXPECT_NE(amd_.cpu().rip, kCode + 4);
  EXPECT_EQ(tcg_.cpu().rip, kCode + 4);
}

}  // namespace
}  // namespace dejavm::soft
