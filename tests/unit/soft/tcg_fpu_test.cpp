// What vm::CpuKind::tcg does other than amd (tcg_flags.h): x87, MMX and SSE.
#include <cstring>

#include "tcg_fixture.h"

namespace dejavm::soft {
namespace {

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

TEST_F(Kinds, ATinyResultIsFlushedAlsoWhereUnderflowIsUnmasked) {
  constexpr uint32_t kFlushUnmasked = 0x9f80 & ~0x800u, kUnderflowAndInexact = 0x30;
  tcg_.long_mode();
  tcg_.cpu().fpu.mxcsr = kFlushUnmasked;
  tcg_.cpu().fpu.xmm[0] = {1, 0, 0x80, 0};     // a little more than 2^-126
  tcg_.cpu().fpu.xmm[1] = {1, 0, 0x80, 0x3e};  // and than 0.25
  tcg_.code({0xf3, 0x0f, 0x59, 0xc1});         // mulss xmm0, xmm1
  EXPECT_TRUE(tcg_.step_quietly());
  EXPECT_EQ(tcg_.cpu().fpu.xmm[0][2], 0);
  EXPECT_EQ(tcg_.cpu().fpu.mxcsr, kFlushUnmasked | kUnderflowAndInexact);
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

TEST(Sse, AConversionFromMemoryToAGeneralRegisterWantsTheOperatingSystemToKnowSse) {
  SoftGuest guest(of_kind(vm::CpuKind::amd));
  guest.long_mode();
  guest.cpu().cr4 &= ~uint64_t{1 << 9};
  guest.gpr(vm::rsi) = kData;
  guest.code({0xf2, 0x0f, 0x2c, 0x06});  // cvttsd2si eax, [rsi]
  guest.step();
  EXPECT_EQ(guest.cpu().rip, kHandler);
}

TEST_F(Kinds, ConversionsOfMmxRegistersDoNotAskForTheOperatingSystemsSse) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->cpu().cr4 &= ~uint64_t{1 << 9};
    guest->code({0x0f, 0x2a, 0xc0});  // cvtpi2ps xmm0, mm0
    guest->step();
  }
  EXPECT_EQ(amd_.cpu().rip, kHandler);
  EXPECT_EQ(tcg_.cpu().rip, kCode + 3);
}

TEST_F(Kinds, TheRootOfANegativeNumberSetsC2) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->cpu().fpu.ftw = 0xff;
    guest->cpu().fpu.fsw = 0x4000;                                     // C3
    guest->cpu().fpu.st[0] = {0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0xbf};  // -1
    guest->code({0xd9, 0xfa});                                         // fsqrt
    EXPECT_TRUE(guest->step_quietly());
    EXPECT_EQ(guest->cpu().fpu.fsw & 1, 1);
  }
  EXPECT_EQ(amd_.cpu().fpu.fsw & 0x4700, 0x4000);
  EXPECT_EQ(tcg_.cpu().fpu.fsw & 0x4700, 0x0400);
}

/// TCG looks for exceptions that are unmasked when an instruction may signal one, not when the control word comes.
TEST_F(Kinds, AControlWordIsLoadedAsItIsAndSummarizesNothing) {
  constexpr uint16_t kInvalid = 1, kSummary = 0x8080;
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->cpu().fpu.ftw = 0xff;
    guest->cpu().fpu.fsw = kInvalid;
    guest->gpr(vm::rsi) = kData;
    guest->poke(kData, 0xf4f4, 2);
    guest->code({0xd9, 0x2e, 0xd9, 0xe0, 0xd8, 0xc0});  // fldcw [rsi]; fchs; fadd st(0), st(0)
    EXPECT_TRUE(guest->step_quietly());
  }
  EXPECT_EQ(amd_.cpu().fpu.fcw, 0x1474);
  EXPECT_EQ(amd_.cpu().fpu.fsw, kInvalid | kSummary);
  EXPECT_EQ(tcg_.cpu().fpu.fcw, 0xf4f4);
  EXPECT_EQ(tcg_.cpu().fpu.fsw, kInvalid);
  EXPECT_TRUE(tcg_.step_quietly());
  EXPECT_EQ(tcg_.cpu().fpu.fsw, kInvalid);
  EXPECT_TRUE(tcg_.step_quietly());
  EXPECT_EQ(tcg_.cpu().fpu.fsw, kInvalid | kSummary);
}

TEST_F(Kinds, ASummaryStaysWhereTheExceptionIsMaskedThen) {
  tcg_.long_mode();
  tcg_.cpu().fpu.fcw = 0x37e;
  tcg_.cpu().fpu.fsw = 0x8081;
  tcg_.gpr(vm::rsi) = kData;
  tcg_.poke(kData, 0x37f, 2);
  tcg_.code({0xd9, 0x2e});  // fldcw [rsi]
  EXPECT_TRUE(tcg_.step_quietly());
  EXPECT_EQ(tcg_.cpu().fpu.fsw, 0x8081);
}

TEST_F(Kinds, TheReservedPrecisionIsTheFullOne) {
  tcg_.long_mode();
  tcg_.cpu().fpu.fcw = 0x17f;
  tcg_.cpu().fpu.ftw = 0xff;
  tcg_.cpu().fpu.st[0] = {1, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f};
  tcg_.code({0xd8, 0xc0});  // fadd st(0), st(0)
  EXPECT_TRUE(tcg_.step_quietly());
  EXPECT_EQ(tcg_.cpu().fpu.st[0][0], 1);
  EXPECT_EQ(tcg_.cpu().fpu.fsw, 0);
}

TEST_F(Kinds, APushOfSt7IsTheSameRegister) {
  tcg_.long_mode();
  tcg_.cpu().fpu.ftw = 0;
  tcg_.cpu().fpu.st[7] = {1, 2, 3, 4, 5, 6, 7, 0x88, 0xff, 0x3f};
  auto value = tcg_.cpu().fpu.st[7];
  tcg_.code({0xd9, 0xc7});  // fld st(7)
  EXPECT_TRUE(tcg_.step_quietly());
  EXPECT_EQ(tcg_.cpu().fpu.st[0], value);
  EXPECT_EQ(tcg_.cpu().fpu.fsw, 0x3800);
  EXPECT_EQ(tcg_.cpu().fpu.ftw, 0x80);
}

TEST_F(Kinds, AnX87StoreThatFaultsHasSignalled) {
  constexpr uint16_t kInexact = 1 << 5;
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->cpu().fpu.ftw = 0xff;
    guest->cpu().fpu.st[0] = {1, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f};
    guest->gpr(vm::rsi) = kRamSize;
    guest->code({0xd9, 0x16});  // fst dword ptr [rsi]
    guest->step();
    EXPECT_EQ(guest->cpu().rip, kHandler);
  }
  EXPECT_EQ(amd_.cpu().fpu.fsw, 0);
  EXPECT_EQ(tcg_.cpu().fpu.fsw, kInexact);
}

TEST_F(Kinds, AnEnvironmentThatIsStoredMasksNothingAndHasZerosBesideItsWords) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->cpu().fpu.fcw = 0x340;
    guest->gpr(vm::rsi) = kData;
    guest->code({0xd9, 0x36});  // fnstenv [rsi]
    EXPECT_TRUE(guest->step_quietly());
  }
  EXPECT_EQ(amd_.cpu().fpu.fcw, 0x37f);
  EXPECT_EQ(amd_.peek(kData, 4), 0xffff0340u);
  EXPECT_EQ(tcg_.cpu().fpu.fcw, 0x340);
  EXPECT_EQ(tcg_.peek(kData, 4), 0x340u);
}

TEST_F(Kinds, FnsaveWithRexWHasItsRegistersFurtherUp) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    for (uint64_t at = 0; at < 144; at += 8) guest->poke(kData + at, UINT64_MAX);
    guest->cpu().fpu.st[0][0] = 0x5a;
    guest->gpr(vm::rsi) = kData;
    guest->code({0x48, 0xdd, 0x36, 0x48, 0xdd, 0x26});  // fnsave [rsi]; frstor [rsi]
    EXPECT_TRUE(guest->step_quietly());
    EXPECT_TRUE(guest->step_quietly());
    EXPECT_EQ(guest->cpu().fpu.st[0][0], 0x5a);
  }
  EXPECT_EQ(amd_.peek(kData + 28, 1), 0x5au);
  EXPECT_EQ(tcg_.peek(kData + 28, 4), 0xffffffffu);
  EXPECT_EQ(tcg_.peek(kData + 56, 1), 0x5au);
}

TEST_F(Kinds, FxsaveWithoutTheOperatingSystemsSseLeavesMxcsr) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->cpu().cr4 &= ~uint64_t{1 << 9};
    guest->poke(kData + 24, UINT64_MAX);
    guest->gpr(vm::rsi) = kData;
    guest->code({0x0f, 0xae, 0x06});  // fxsave [rsi]
    EXPECT_TRUE(guest->step_quietly());
  }
  EXPECT_EQ(amd_.peek(kData + 24, 4), 0x1f80u);
  EXPECT_EQ(tcg_.peek(kData + 24, 4), 0xffffffffu);
}

TEST_F(Kinds, AConversionToDoublesReads16Bytes) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->gpr(vm::rsi) = kRamSize - 8;
    guest->code({0xf3, 0x0f, 0xe6, 0x06});  // cvtdq2pd xmm0, [rsi]
    guest->step();
  }
  EXPECT_EQ(amd_.cpu().rip, kCode + 4);
  EXPECT_EQ(tcg_.cpu().rip, kHandler);
  EXPECT_EQ(tcg_.cpu().cr2, kRamSize);
}

TEST_F(Kinds, AnUnpackOfMmxRegistersReads8Bytes) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->gpr(vm::rsi) = kRamSize - 4;
    guest->code({0x0f, 0x62, 0x06});  // punpckldq mm0, [rsi]
    guest->step();
  }
  EXPECT_EQ(amd_.cpu().rip, kCode + 3);
  EXPECT_EQ(tcg_.cpu().rip, kHandler);
}

TEST_F(Kinds, TheFirstHalfOfAVectorIsStoredBeforeTheSecondFaults) {
  for (SoftGuest* guest : {&amd_, &tcg_}) {
    guest->long_mode();
    guest->cpu().fpu.xmm[0].fill(0x5a);
    guest->gpr(vm::rsi) = kRamSize - 8;
    guest->code({0xf3, 0x0f, 0x7f, 0x06});  // movdqu [rsi], xmm0
    guest->step();
    EXPECT_EQ(guest->cpu().rip, kHandler);
  }
  EXPECT_EQ(amd_.peek(kRamSize - 8), 0u);
  EXPECT_EQ(tcg_.peek(kRamSize - 8), 0x5a5a5a5a5a5a5a5au);
}

}  // namespace
}  // namespace dejavm::soft
