// Stack instructions in 16-, 32- and 64-bit code.
#include "soft_fixture.h"
#include "vector_probe.h"

namespace dejavm::soft {
namespace {

TEST(Stack, SizesIn64BitCode) {
  SoftGuest guest;
  guest.long_mode();
  guest.code({0x6a, 0xff, 0x66, 0x6a, 0xfe, 0x68, 0x78, 0x56, 0x34, 0x92, 0x66, 0x50, 0x8f, 0xc1});
  guest.gpr(vm::rax) = 0x1234;
  EXPECT_TRUE(guest.step_quietly());  // push -1
  EXPECT_EQ(guest.peek(kStack - 8), 0xffffffffffffffffu);
  EXPECT_TRUE(guest.step_quietly());  // 16 bits: push -2
  EXPECT_EQ(guest.gpr(vm::rsp), kStack - 10);
  EXPECT_EQ(guest.peek(kStack - 10, 2), 0xfffeu);
  EXPECT_TRUE(guest.step_quietly());  // push imm32
  EXPECT_EQ(guest.peek(kStack - 18), 0xffffffff92345678u);
  EXPECT_TRUE(guest.step_quietly());  // push ax
  EXPECT_EQ(guest.gpr(vm::rsp), kStack - 20);
  EXPECT_TRUE(guest.step_quietly());  // pop rcx
  EXPECT_EQ(guest.gpr(vm::rcx), 0xffff923456781234u);
}

TEST(Stack, PushAndPopOfTheStackPointer) {
  SoftGuest guest;
  guest.long_mode();
  guest.code({0x54, 0x5c, 0xff, 0x74, 0x24, 0x08, 0x8f, 0x44, 0x24, 0x10});
  guest.poke(kStack + 8, 0x1122334455667788);
  EXPECT_TRUE(guest.step_quietly());  // push rsp
  EXPECT_EQ(guest.peek(kStack - 8), kStack);
  EXPECT_TRUE(guest.step_quietly());  // pop rsp
  EXPECT_EQ(guest.gpr(vm::rsp), kStack);
  EXPECT_TRUE(guest.step_quietly());  // push [rsp + 8]
  EXPECT_EQ(guest.peek(kStack - 8), 0x1122334455667788u);
  EXPECT_TRUE(guest.step_quietly());  // pop [rsp + 16], RSP after the pop
  EXPECT_EQ(guest.gpr(vm::rsp), kStack);
  EXPECT_EQ(guest.peek(kStack + 16), 0x1122334455667788u);
}

TEST(Stack, APopToADeviceThatFaultsLeavesTheStackAlone) {
  VectorProbe probe;
  probe.guest().gpr(vm::rsi) = kRamSize;  // not mapped
  EXPECT_EQ(probe.vector_of({0x8f, 0x06}), kPageFault);
  EXPECT_EQ(probe.guest().peek(probe.guest().gpr(vm::rsp) + 32), kStack);  // RSP in the frame
}

TEST(Stack, A16BitStackKeepsTheUpperHalf) {
  SoftGuest guest;
  guest.real_mode();
  guest.code({0x50, 0x66, 0x50, 0x5b});
  guest.gpr(vm::rsp) = 0xabcd0002;
  guest.gpr(vm::rax) = 0x99887766;
  EXPECT_TRUE(guest.step_quietly());
  EXPECT_EQ(guest.gpr(vm::rsp), 0xabcd0000u);
  EXPECT_TRUE(guest.step_quietly());  // push eax: SP wraps
  EXPECT_EQ(guest.gpr(vm::rsp), 0xabcdfffcu);
  EXPECT_EQ(guest.peek(0xfffc, 4), 0x99887766u);
  EXPECT_TRUE(guest.step_quietly());  // pop bx
  EXPECT_EQ(guest.gpr(vm::rbx), 0x7766u);
}

TEST(Stack, AllRegisters) {
  SoftGuest guest;
  guest.protected_mode();
  guest.code({0x60, 0x61, 0x66, 0x60});
  for (unsigned i = 0; i < 8; ++i) {
    if (i != vm::rsp) guest.cpu().gpr[i] = 0x11111111u * i;
  }
  EXPECT_TRUE(guest.step_quietly());
  EXPECT_EQ(guest.gpr(vm::rsp), kStack - 32);
  EXPECT_EQ(guest.peek(kStack - 4, 4), 0u);
  EXPECT_EQ(guest.peek(kStack - 20, 4), kStack);
  EXPECT_EQ(guest.peek(kStack - 32, 4), 0x77777777u);
  guest.poke(kStack - 20, 0xdeadbeef, 4);  // POPA drops ESP's image
  guest.poke(kStack - 16, 0x42, 4);
  EXPECT_TRUE(guest.step_quietly());
  EXPECT_EQ(guest.gpr(vm::rsp), kStack);
  EXPECT_EQ(guest.gpr(vm::rbx), 0x42u);
  EXPECT_EQ(guest.gpr(vm::rdi), 0x77777777u);
  EXPECT_TRUE(guest.step_quietly());
  EXPECT_EQ(guest.gpr(vm::rsp), kStack - 16);
  EXPECT_EQ(guest.peek(kStack - 16, 2), 0x7777u);
}

TEST(Stack, EnterCopiesFramePointers) {
  SoftGuest guest;
  guest.long_mode();
  guest.code({0xc8, 0x20, 0x00, 0x03, 0xc9});  // enter 32, 3; leave
  guest.gpr(vm::rbp) = kData;
  guest.poke(kData - 8, 0xaaaa);
  guest.poke(kData - 16, 0xbbbb);
  EXPECT_TRUE(guest.step_quietly());
  EXPECT_EQ(guest.gpr(vm::rbp), kStack - 8);
  EXPECT_EQ(guest.gpr(vm::rsp), kStack - 32 - 32);
  EXPECT_EQ(guest.peek(kStack - 8), kData);
  EXPECT_EQ(guest.peek(kStack - 16), 0xaaaau);
  EXPECT_EQ(guest.peek(kStack - 24), 0xbbbbu);
  EXPECT_EQ(guest.peek(kStack - 32), kStack - 8);
  EXPECT_TRUE(guest.step_quietly());
  EXPECT_EQ(guest.gpr(vm::rsp), kStack);
  EXPECT_EQ(guest.gpr(vm::rbp), kData);
}

TEST(Stack, FlagsByPrivilege) {
  SoftGuest guest;
  guest.long_mode();
  guest.code({0x9d, 0x9d, 0x9c});  // popfq, popfq, pushfq
  guest.poke(kStack, 0x3f7ed7);    // everything but TF
  guest.poke(kStack + 8, 0x2);
  EXPECT_TRUE(guest.step_quietly());
  EXPECT_EQ(guest.cpu().rflags, 0x247ed7u);  // not RF, VM, VIF, VIP
  guest.cpu().segment[vm::cs].dpl = guest.cpu().segment[vm::ss].dpl = 3;
  guest.cpu().segment[vm::cs].selector = kUserCode64;
  guest.cpu().segment[vm::ss].selector = kUserData;
  guest.cpu().rflags = 0x2 | 0x1000 | 0x200;  // IOPL 1
  guest.core().state_changed();
  EXPECT_TRUE(guest.step_quietly());
  EXPECT_EQ(guest.cpu().rflags, 0x1202u);  // IOPL and IF stay
  guest.cpu().rflags |= 0x10000;
  EXPECT_TRUE(guest.step_quietly());
  EXPECT_EQ(guest.peek(guest.gpr(vm::rsp)), 0x1202u);
}

TEST(Stack, The16BitFormKeepsTheUpperFlags) {
  SoftGuest guest;
  guest.real_mode();
  guest.code({0x9d});
  guest.cpu().rflags = 0x240002;
  guest.core().state_changed();
  guest.poke(kStack, 0xffff & ~0x100u, 2);
  EXPECT_TRUE(guest.step_quietly());
  EXPECT_EQ(guest.cpu().rflags, 0x247ed7u);
}

}  // namespace
}  // namespace dejavm::soft
