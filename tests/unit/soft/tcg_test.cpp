// What vm::CpuKind::tcg does other than amd (tcg_flags.h).
#include <cstring>

#include "soft_fixture.h"

namespace dejavm::soft {
namespace {

constexpr uint64_t kCf = 1, kPf = 4, kAf = 0x10, kZf = 0x40, kSf = 0x80, kOf = 0x800;
constexpr uint64_t kStatus = kCf | kPf | kAf | kZf | kSf | kOf;

vm::CpuModel of_kind(vm::CpuKind kind) {
  vm::CpuModel model = vm::dejavm64_v1();
  model.kind = kind;
  return model;
}

/// One instruction on a guest of each kind, amd first.
class Kinds : public testing::Test {
 protected:
  /// RSI points to a page that is not there; the error codes of the page faults, with the instruction at ring 0.
  std::pair<uint64_t, uint64_t> page_fault_errors(std::initializer_list<int> instruction) {
    for (SoftGuest* guest : {&amd_, &tcg_}) {
      guest->long_mode();
      guest->gpr(vm::rsi) = kRamSize;
      guest->code(instruction);
      guest->step();
      EXPECT_EQ(guest->cpu().rip, kHandler);
      EXPECT_EQ(guest->cpu().cr2, kRamSize);
    }
    return {amd_.peek(amd_.gpr(vm::rsp)), tcg_.peek(tcg_.gpr(vm::rsp))};
  }
  /// The status flags after an instruction of 32-bit code that begins with these.
  std::pair<uint64_t, uint64_t> flags_after(std::initializer_list<int> instruction, uint64_t rax, uint64_t flags) {
    for (SoftGuest* guest : {&amd_, &tcg_}) {
      guest->protected_mode();
      guest->gpr(vm::rax) = rax;
      guest->cpu().rflags = 2 | flags;
      guest->code(instruction);
      EXPECT_TRUE(guest->step_quietly());
    }
    EXPECT_EQ(amd_.gpr(vm::rax), tcg_.gpr(vm::rax));
    return {amd_.cpu().rflags & kStatus, tcg_.cpu().rflags & kStatus};
  }
  SoftGuest amd_{of_kind(vm::CpuKind::amd)}, tcg_{of_kind(vm::CpuKind::tcg)};
};

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

TEST_F(Kinds, FxsaveLeavesTheLastOpcodeAndWhatIsReservedBehindAnX87Register) {
  constexpr uint64_t kOnes = UINT64_MAX;
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    for (uint64_t at = 0; at < 512; at += 8) guest->poke(kData + at, kOnes);
    guest->gpr(vm::rsi) = kData;
    guest->cpu().fpu.st[1][8] = 0x7f;
    guest->code({0x48, 0x0f, 0xae, 0x06});  // fxsave64 [rsi]
    EXPECT_TRUE(guest->step_quietly());
    EXPECT_EQ(guest->peek(kData + 5, 1), 0u);
    EXPECT_EQ(guest->peek(kData + 48), 0u);
    EXPECT_EQ(guest->peek(kData + 56, 2), 0x7fu);
    EXPECT_EQ(guest->peek(kData + 160 + 256), kOnes);
  }
  EXPECT_EQ(amd_.peek(kData + 6, 2), 0u);
  EXPECT_EQ(amd_.peek(kData + 58, 4), 0u);
  EXPECT_EQ(tcg_.peek(kData + 6, 2), 0xffffu);
  EXPECT_EQ(tcg_.peek(kData + 58, 4), 0xffffffffu);
}

TEST_F(Kinds, FxsaveFaultsAsAWrite) {
  EXPECT_EQ(page_fault_errors({0x0f, 0xae, 0x06}), std::pair(uint64_t{2}, uint64_t{2}));
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

TEST_F(Kinds, AnMmxInstructionLeavesTheExponent) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->cpu().fpu.st[1][8] = 0x7f;
    guest->cpu().fpu.st[1][9] = 0x3f;
    guest->code({0x0f, 0xef, 0xc9});  // pxor mm1, mm1
    EXPECT_TRUE(guest->step_quietly());
  }
  EXPECT_EQ(amd_.cpu().fpu.st[1][8], 0xff);
  EXPECT_EQ(tcg_.cpu().fpu.st[1][8], 0x7f);
  EXPECT_EQ(tcg_.cpu().fpu.st[1][9], 0x3f);
}

TEST_F(Kinds, SomeVectorOperandsNeedNoAlignment) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->gpr(vm::rsi) = kData + 1;
    guest->code({0x0f, 0x57, 0x06, 0x0f, 0x58, 0x06});  // xorps xmm0, [rsi]; addps xmm0, [rsi]
    guest->step();
  }
  EXPECT_EQ(amd_.cpu().rip, kHandler);
  EXPECT_EQ(tcg_.cpu().rip, kCode + 3);
  tcg_.step();
  EXPECT_EQ(tcg_.cpu().rip, kHandler);
}

TEST_F(Kinds, AnUnmaskedVectorExceptionOnlyShowsInItsFlag) {
  constexpr uint32_t kAllButZeroDivide = 0x1f80 & ~0x200u;
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->cpu().fpu.mxcsr = kAllButZeroDivide;
    guest->cpu().fpu.xmm[0] = {0, 0, 0x80, 0x3f};  // 1.0f
    guest->code({0xf3, 0x0f, 0x5e, 0xc1});         // divss xmm0, xmm1
    guest->step();
  }
  EXPECT_NE(amd_.cpu().rip, kCode + 4);
  EXPECT_EQ(tcg_.cpu().rip, kCode + 4);
  EXPECT_EQ(tcg_.cpu().fpu.mxcsr, kAllButZeroDivide | 4);
}

TEST_F(Kinds, AReciprocalIsDivided) {
  tcg_.long_mode();
  tcg_.cpu().fpu.xmm[1] = {0, 0, 0x40, 0x40};  // 3.0f
  tcg_.code({0xf3, 0x0f, 0x53, 0xc1});         // rcpss xmm0, xmm1
  EXPECT_TRUE(tcg_.step_quietly());
  float result = 0;
  std::memcpy(&result, tcg_.cpu().fpu.xmm[0].data(), sizeof result);
  EXPECT_EQ(result, 1.0f / 3.0f);
}

TEST_F(Kinds, TheX87StackDoesNotOverflow) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->cpu().fpu.ftw = 0xff;
    guest->code({0xd9, 0xe8});  // fld1
    EXPECT_TRUE(guest->step_quietly());
  }
  EXPECT_NE(amd_.cpu().fpu.fsw & 0x41, 0);
  EXPECT_EQ(tcg_.cpu().fpu.fsw, 0x3800);
  EXPECT_EQ(tcg_.cpu().fpu.ftw, 0xff);
  EXPECT_EQ(tcg_.cpu().fpu.st[0][9], 0x3f);
}

TEST_F(Kinds, AnEmptyX87RegisterThatIsPoppedStaysEmpty) {
  tcg_.long_mode();
  tcg_.cpu().fpu.ftw = 0;
  tcg_.code({0xdd, 0xd8});  // fstp st(0)
  EXPECT_TRUE(tcg_.step_quietly());
  EXPECT_EQ(tcg_.cpu().fpu.ftw, 0);
  EXPECT_EQ(tcg_.cpu().fpu.fsw, 0x0800);
}

TEST_F(Kinds, AnX87ComparisonKeepsTheOtherFlags) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->cpu().fpu.ftw = 0xff;
    guest->cpu().rflags = 2 | kOf | kSf | kAf | kCf;
    guest->code({0xdb, 0xe8});  // fucomi st(0), st(0)
    EXPECT_TRUE(guest->step_quietly());
  }
  EXPECT_EQ(amd_.cpu().rflags & kStatus, kZf);
  EXPECT_EQ(tcg_.cpu().rflags & kStatus, kZf | kOf | kSf | kAf);
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

TEST(Sse, AConversionFromMemoryToAGeneralRegisterWantsTheOperatingSystemToKnowSse) {
  SoftGuest guest(of_kind(vm::CpuKind::amd));
  guest.long_mode();
  guest.cpu().cr4 &= ~uint64_t{1 << 9};
  guest.gpr(vm::rsi) = kData;
  guest.code({0xf2, 0x0f, 0x2c, 0x06});  // cvttsd2si eax, [rsi]
  guest.step();
  EXPECT_EQ(guest.cpu().rip, kHandler);
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

}  // namespace
}  // namespace dejavm::soft
