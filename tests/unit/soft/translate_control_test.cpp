// Where translated code must stop, and what makes it stale.
#include <thread>

#include "soft_fixture.h"

namespace dejavm::soft {
namespace {

class Translate : public testing::Test {
 protected:
  void SetUp() override {
    guest_.long_mode();
    ASSERT_TRUE(guest_.core().translate({.visits = 1}).has_value());
  }
  /// Runs to a count of steps.
  vm::Exit run_to(uint64_t steps) {
    guest_.core().step_limit = steps;
    return guest_.run();
  }

  void set_cr3(uint64_t tables) {
    vm::CpuState state = guest_.cpu();
    state.cr3 = tables;
    guest_.core().set_state(state);
  }
  void jump(uint64_t rip) {
    vm::CpuState state = guest_.cpu();
    state.rip = rip;
    guest_.core().set_state(state);
  }

  SoftGuest guest_;
};

constexpr uint64_t kSmall = 0x40000000, kOtherTables = 0x100000, kMoreTables = 0x110000;

TEST_F(Translate, EndsAtEveryStepLimit) {
  // inc rax; add rbx, rax; jmp
  guest_.code({0x48, 0xff, 0xc0, 0x48, 0x01, 0xc3, 0xeb, 0xf8});
  for (uint64_t limit = 1; limit < 300; ++limit) {
    vm::Exit exit = run_to(limit);
    ASSERT_TRUE(std::holds_alternative<vm::StepLimit>(exit)) << exit.index();
    ASSERT_EQ(guest_.core().steps, limit);
    ASSERT_EQ(guest_.gpr(vm::rax), (limit + 2) / 3);
    ASSERT_EQ(guest_.cpu().rip, kCode + 3 * (limit % 3));
  }
}

TEST_F(Translate, CountsDownToEveryStepLimit) {
  // again: dec ecx; jnz again; inc rbx; mov ecx, 20; jmp again
  guest_.code({0xff, 0xc9, 0x75, 0xfc, 0x48, 0xff, 0xc3, 0xb9, 20, 0, 0, 0, 0xeb, 0xf2});
  guest_.gpr(vm::rcx) = 20;
  SoftGuest interpreted;
  interpreted.long_mode();
  interpreted.code({0xff, 0xc9, 0x75, 0xfc, 0x48, 0xff, 0xc3, 0xb9, 20, 0, 0, 0, 0xeb, 0xf2});
  interpreted.gpr(vm::rcx) = 20;

  for (uint64_t limit = 1; limit < 2000; limit += 1 + limit % 37) {
    run_to(limit);
    interpreted.core().step_limit = limit;
    interpreted.run();
    ASSERT_EQ(guest_.core().steps, limit);
    ASSERT_EQ(vm::difference(interpreted.cpu(), guest_.cpu()), "") << "at step " << limit;
  }
}

TEST_F(Translate, CountsDownFromZeroThroughAllValues) {
  guest_.code({0x49, 0xff, 0xcd, 0x75, 0xfb});  // again: dec r13; jnz again

  run_to(1'000'000'000'001);

  EXPECT_EQ(guest_.gpr(vm::r13), uint64_t{0} - 500'000'000'001);
  EXPECT_EQ(guest_.cpu().rip, kCode + 3);
}

TEST_F(Translate, CountsDownPastTheEnd) {
  guest_.code({0x48, 0xff, 0xca, 0x75, 0xfb, 0xf4});  // again: dec rdx; jnz again; hlt
  guest_.gpr(vm::rdx) = 5'000'000'000;

  vm::Exit exit = guest_.run();

  EXPECT_TRUE(std::holds_alternative<vm::Halted>(exit));
  EXPECT_EQ(guest_.gpr(vm::rdx), 0u);
  EXPECT_EQ(guest_.core().steps, 10'000'000'001u);
}

TEST_F(Translate, EndsFarAwayAtTheLimit) {
  guest_.code({0x48, 0xff, 0xc0, 0x48, 0x01, 0xc3, 0xeb, 0xf8});

  run_to(10'000'000);

  EXPECT_EQ(guest_.core().steps, 10'000'000u);
  EXPECT_EQ(guest_.gpr(vm::rax), 3'333'334u);
  EXPECT_EQ(guest_.cpu().rip, kCode + 3);
}

TEST_F(Translate, SeesAKickInALoopThatNeverEnds) {
  guest_.code({0xeb, 0xfe});
  std::thread other([this] { guest_.core().kicked.store(true); });

  vm::Exit exit = guest_.run();

  other.join();
  EXPECT_TRUE(std::holds_alternative<vm::Interrupted>(exit));
  EXPECT_EQ(guest_.cpu().rip, kCode);
}

TEST_F(Translate, ProgramThatCountsInItsOwnImmediateSeesIt) {
  // again: mov eax, imm32; add ebx, eax; inc dword [the imm32]; jmp again
  guest_.code({0xb8, 0, 0, 0, 0, 0x01, 0xc3, 0xff, 0x05, 0xf4, 0xff, 0xff, 0xff, 0xeb, 0xf1});

  run_to(4000);

  EXPECT_EQ(guest_.gpr(vm::rax), 999u);
  EXPECT_EQ(guest_.gpr(vm::rbx), 999u * 1000 / 2);
}

TEST_F(Translate, CodeThatADeviceReplacesIsNotRunAnyMore) {
  guest_.code({0x48, 0xff, 0xc0, 0xeb, 0xfb});  // inc rax; jmp
  run_to(1000);

  uint8_t decrement = 0xc8;
  ASSERT_TRUE(guest_.memory().write({kCode + 2}, {&decrement, 1}, vm::Writer::device).has_value());
  run_to(2000);

  EXPECT_EQ(guest_.gpr(vm::rax), 0u);
}

TEST_F(Translate, JumpsBetweenPagesFollowTheTables) {
  guest_.poke(0x30000, 0xe9 | uint64_t{0xffb} << 8, 5);                    // page 0: jmp to page 1
  guest_.code({0x48, 0xff, 0xc0, 0xe9, 0xf8, 0xef, 0xff, 0xff}, 0x31000);  // inc rax; jmp to page 0
  guest_.code({0x48, 0xff, 0xc3, 0xe9, 0xf8, 0xef, 0xff, 0xff}, 0x32000);  // inc rbx; jmp to page 0
  guest_.map_small_pages(kOtherTables, {0x30000, 0x31000});
  guest_.map_small_pages(kMoreTables, {0x30000, 0x32000});

  for (uint64_t round = 1; round <= 6; ++round) {
    set_cr3(round % 2 != 0 ? kOtherTables : kMoreTables);
    jump(kSmall);
    run_to(3000 * round);
  }

  EXPECT_EQ(guest_.gpr(vm::rax), 3000u);
  EXPECT_EQ(guest_.gpr(vm::rbx), 3000u);
}

TEST_F(Translate, GuestThatWritesCr3RunsWhatIsMappedThen) {
  // page 0: mov cr3, rdi; xchg rdi, rsi; call page 1; jmp page 0
  guest_.code({0x0f, 0x22, 0xdf, 0x48, 0x87, 0xf7, 0xe8, 0xf5, 0x0f, 0, 0, 0xeb, 0xf3}, 0x30000);
  guest_.code({0x48, 0xff, 0xc0, 0xc3}, 0x31000);  // inc rax; ret
  guest_.code({0x48, 0xff, 0xc3, 0xc3}, 0x32000);  // inc rbx; ret
  guest_.map_small_pages(kOtherTables, {0x30000, 0x31000});
  guest_.map_small_pages(kMoreTables, {0x30000, 0x32000});
  set_cr3(kOtherTables);
  jump(kSmall);
  guest_.gpr(vm::rdi) = kOtherTables;
  guest_.gpr(vm::rsi) = kMoreTables;

  run_to(6000);

  EXPECT_EQ(guest_.gpr(vm::rax), 500u);
  EXPECT_EQ(guest_.gpr(vm::rbx), 500u);
}

TEST_F(Translate, InstructionAcrossPagesFollowsTheSecondPage) {
  // mov eax, imm32 at the end of page 0, three bytes of the immediate in page 1; then jmp back
  guest_.code({0xb8, 0x11}, 0x30ffe);
  guest_.code({0, 0, 0, 0xe9, 0xf6, 0xff, 0xff, 0xff}, 0x31000);
  guest_.code({0x22, 0, 0, 0xe9, 0xf6, 0xff, 0xff, 0xff}, 0x32000);
  guest_.map_small_pages(kOtherTables, {0x30000, 0x31000});
  guest_.map_small_pages(kMoreTables, {0x30000, 0x32000});

  set_cr3(kOtherTables);
  jump(kSmall + 0xffe);
  run_to(1000);
  uint64_t first = guest_.gpr(vm::rax);
  set_cr3(kMoreTables);
  jump(kSmall + 0xffe);
  run_to(2000);
  uint64_t second = guest_.gpr(vm::rax);
  guest_.poke(0x32000, 0x33, 1);
  run_to(3000);

  EXPECT_EQ(first, 0x11u);
  EXPECT_EQ(second, 0x2211u);
  EXPECT_EQ(guest_.gpr(vm::rax), 0x3311u);
}

TEST_F(Translate, DataAcrossPagesIsPutTogether) {
  // mov rcx, [rbx]; mov rdx, [rbx + 8]; mov rax, [rbx + 4]; jmp
  guest_.code({0x48, 0x8b, 0x0b, 0x48, 0x8b, 0x53, 0x08, 0x48, 0x8b, 0x43, 0x04, 0xeb, 0xf3}, 0x30000);
  guest_.poke(0x35ff8, 0x1111111122222222);
  guest_.poke(0x33000, 0x3333333344444444);
  guest_.map_small_pages(kOtherTables, {0x30000, 0x35000, 0x33000});
  set_cr3(kOtherTables);
  jump(kSmall);
  guest_.gpr(vm::rbx) = kSmall + 0x1ff8;

  run_to(4000);

  EXPECT_EQ(guest_.gpr(vm::rcx), 0x1111111122222222u);
  EXPECT_EQ(guest_.gpr(vm::rdx), 0x3333333344444444u);
  EXPECT_EQ(guest_.gpr(vm::rax), 0x4444444411111111u);
}

TEST_F(Translate, PopOfTheStackPointerGivesWhatWasPushed) {
  guest_.code({0x53, 0x5c, 0x48, 0x89, 0xe0, 0xeb, 0xf9});  // push rbx; pop rsp; mov rax, rsp; jmp
  guest_.gpr(vm::rbx) = kData;

  run_to(401);

  EXPECT_EQ(guest_.gpr(vm::rax), kData);
}

TEST_F(Translate, StopsAtABreakpointInTheMiddleOfKnownCode) {
  guest_.code({0x48, 0xff, 0xc0, 0x48, 0xff, 0xc3, 0xeb, 0xf8});  // inc rax; inc rbx; jmp
  run_to(3000);

  guest_.core().set_breakpoints({kCode + 3});
  guest_.core().step_limit = UINT64_MAX;
  vm::Exit first = guest_.run();
  uint64_t steps_first = guest_.core().steps;
  vm::Exit second = guest_.run();
  uint64_t steps_second = guest_.core().steps;
  guest_.core().set_breakpoints({});
  vm::Exit third = run_to(6000);

  EXPECT_TRUE(std::holds_alternative<vm::BreakpointHit>(first));
  EXPECT_EQ(steps_first, 3001u);
  EXPECT_TRUE(std::holds_alternative<vm::BreakpointHit>(second));
  EXPECT_EQ(steps_second, 3004u);
  EXPECT_TRUE(std::holds_alternative<vm::StepLimit>(third));
  EXPECT_EQ(guest_.gpr(vm::rax), 2000u);
  EXPECT_EQ(guest_.gpr(vm::rbx), 2000u);
}

/// Whoever stands there sees neither the fault of the fetch nor what its page walk marks.
TEST_F(Translate, ABreakpointComesBeforeTheFetchOfItsInstruction) {
  constexpr uint64_t kNotPresent = 0;
  guest_.map_small_pages(kOtherTables, {});
  guest_.poke(kOtherTables + 0x3000, kNotPresent);
  set_cr3(kOtherTables);
  auto marks = [this] { return guest_.peek(kOtherTables + 0x2000); };
  uint64_t unmarked = marks();
  guest_.gpr(vm::rcx) = 3000;
  guest_.gpr(vm::rdx) = kSmall;
  guest_.code({0x48, 0xff, 0xc9, 0x75, 0xfb, 0xff, 0xe2});  // again: dec rcx; jnz again; jmp rdx
  guest_.core().set_breakpoints({kSmall});

  EXPECT_TRUE(std::holds_alternative<vm::BreakpointHit>(guest_.run()));
  EXPECT_EQ(guest_.cpu().rip, kSmall);
  EXPECT_EQ(guest_.cpu().cr2, 0u);
  EXPECT_EQ(marks(), unmarked);

  EXPECT_TRUE(std::holds_alternative<vm::Halted>(guest_.run()));
  EXPECT_EQ(guest_.cpu().cr2, kSmall);
}

TEST_F(Translate, DeviceReadInTheMiddleOfABlockIsAnswered) {
  // mov rsi, device; again: mov eax, [rsi]; add ebx, eax; inc ecx; jmp again
  guest_.code({0xbe, 0, 0, 0, 0xc0, 0x8b, 0x06, 0x01, 0xc3, 0xff, 0xc1, 0xeb, 0xf8});

  for (uint64_t n = 1; n <= 50; ++n) {
    vm::Exit exit = guest_.run();
    ASSERT_TRUE(std::holds_alternative<vm::DeviceAccess>(exit));
    ASSERT_EQ(guest_.core().steps, 1 + 4 * (n - 1));
    ASSERT_EQ(guest_.cpu().rip, kCode + 5);
    guest_.core().answer(n);
  }

  EXPECT_EQ(guest_.gpr(vm::rbx), 49u * 50 / 2);
  EXPECT_EQ(guest_.gpr(vm::rcx), 49u);
}

TEST_F(Translate, DivideErrorShowsTheFlagsBeforeIt) {
  // cmp eax, eax; imul edx, [rbx]; div ecx; dec ecx; add eax, eax; jmp
  guest_.code({0x39, 0xc0, 0x0f, 0xaf, 0x13, 0xf7, 0xf1, 0xff, 0xc9, 0x01, 0xc0, 0xeb, 0xf3});
  guest_.gpr(vm::rbx) = kData;
  guest_.gpr(vm::rcx) = 5;

  vm::Exit exit = run_to(1000);

  EXPECT_TRUE(std::holds_alternative<vm::Halted>(exit));
  EXPECT_EQ(guest_.peek(guest_.gpr(vm::rsp)), kCode + 5);
  EXPECT_EQ(guest_.peek(guest_.gpr(vm::rsp) + 16) & 0x8d5, 0x44u);  // ZF and PF, which IMUL keeps
}

TEST_F(Translate, AddingASegmentBaseKeepsTheFlags) {
  guest_.code({0x31, 0xc0, 0x65, 0xff, 0x21});  // xor eax, eax; jmp gs:[rcx], which faults
  vm::CpuState state = guest_.cpu();
  state.segment[vm::gs].base = 0x1000;
  state.gpr[vm::rcx] = uint64_t{1} << 63;
  guest_.core().set_state(state);

  EXPECT_TRUE(std::holds_alternative<vm::Halted>(guest_.run()));

  constexpr uint64_t kZf = 0x40, kSf = 0x80;
  EXPECT_EQ(guest_.peek(guest_.gpr(vm::rsp) + 24) & (kZf | kSf), kZf);
}

TEST_F(Translate, PushedFlagsAreThoseOfThisMoment) {
  constexpr uint64_t kCf = 1, kAlways = 2, kPf = 4, kAf = 0x10, kZf = 0x40, kSf = 0x80, kIf = 0x200, kDf = 0x400,
                     kOf = 0x800, kRf = 0x10000, kId = 0x200000;
  // mov al, 0x7f; add al, 1; pushfq; cli; pushfq; sub al, 0x80; pushfq; pop rdx; pop rcx; pop rbx; jmp
  guest_.code({0xb0, 0x7f, 0x04, 1, 0x9c, 0xfa, 0x9c, 0x2c, 0x80, 0x9c, 0x5a, 0x59, 0x5b, 0xeb, 0xf1});
  vm::CpuState state = guest_.cpu();
  state.rflags = kAlways | kIf | kDf | kRf | kId | kCf;
  guest_.core().set_state(state);

  run_to(10);
  EXPECT_EQ(guest_.gpr(vm::rbx), kAlways | kIf | kDf | kId | kSf | kAf | kOf);
  EXPECT_EQ(guest_.gpr(vm::rcx), kAlways | kDf | kId | kSf | kAf | kOf);
  EXPECT_EQ(guest_.gpr(vm::rdx), kAlways | kDf | kId | kZf | kPf);

  state = guest_.cpu();
  state.rflags |= kIf;
  guest_.core().set_state(state);
  run_to(1000);  // as code from here on
  EXPECT_EQ(guest_.gpr(vm::rbx), kAlways | kDf | kId | kSf | kAf | kOf);
  EXPECT_EQ(guest_.gpr(vm::rdx), kAlways | kDf | kId | kZf | kPf);
}

TEST_F(Translate, SelectorsAreReadWithoutTheirUpperBits) {
  // mov eax, ss; mov r9, cs; mov r10d, gs; mov cx, ds; jmp
  guest_.code({0x8c, 0xd0, 0x49, 0x8c, 0xc9, 0x41, 0x8c, 0xea, 0x66, 0x8c, 0xd9, 0xeb, 0xf3});
  vm::CpuState state = guest_.cpu();
  for (vm::Gpr reg : {vm::rax, vm::rcx, vm::r9, vm::r10}) state.gpr[reg] = ~uint64_t{0};
  state.segment[vm::gs].selector = 0xabcd;
  guest_.core().set_state(state);

  run_to(100);

  EXPECT_EQ(guest_.gpr(vm::rax), state.segment[vm::ss].selector);
  EXPECT_EQ(guest_.gpr(vm::r9), state.segment[vm::cs].selector);
  EXPECT_EQ(guest_.gpr(vm::r10), 0xabcdu);
  EXPECT_EQ(guest_.gpr(vm::rcx), 0xffffffffffff0000 | state.segment[vm::ds].selector);
}

TEST_F(Translate, ClearingTheInterruptFlagNeedsTheRight) {
  constexpr uint64_t kIf = 0x200;
  guest_.code({0x90, 0xfa, 0xeb, 0xfc});  // nop; cli; jmp
  run_to(300);
  vm::CpuState state = guest_.cpu();
  EXPECT_EQ(state.rflags & kIf, 0u);
  state.rflags |= kIf;
  state.segment[vm::cs].dpl = state.segment[vm::ss].dpl = 1;  // the code of CPL 0 is used
  guest_.core().set_state(state);

  guest_.core().step_limit = 1000;
  guest_.run();

  EXPECT_LT(guest_.core().steps, 1000u);
}

TEST_F(Translate, SseWithTaskSwitchedFaultsWhereItStands) {
  guest_.code({0x90, 0x0f, 0x28, 0xc1, 0xeb, 0xfa});  // nop; movaps xmm0, xmm1; jmp
  run_to(300);
  vm::CpuState state = guest_.cpu();
  state.cr0 |= 8;
  guest_.core().set_state(state);

  vm::Exit exit = run_to(1000);

  EXPECT_TRUE(std::holds_alternative<vm::Halted>(exit));
  EXPECT_EQ(guest_.core().steps, 303u);  // nop, the exception, HLT
  EXPECT_EQ(guest_.peek(guest_.gpr(vm::rsp)), kCode + 1);
}

}  // namespace
}  // namespace dejavm::soft
