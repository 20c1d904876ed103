// Transfers between code segments.
#include "engine/soft/flags.h"
#include "system_fixture.h"

namespace dejavm::soft {
namespace {

class FarControlTest : public SystemTest {
 protected:
  void push(uint64_t value, unsigned size) {
    guest.gpr(vm::rsp) -= size;
    guest.poke(guest.gpr(vm::rsp), value, size);
  }
};

TEST_F(FarControlTest, RealModeJumpKeepsAttributes) {
  real_mode();
  execute({0xea, 0x34, 0x12, 0x00, 0x10});  // jmp 0x1000:0x1234
  EXPECT_EQ(guest.cpu().rip, 0x1234u);
  EXPECT_EQ(segment(vm::cs).base, 0x10000u);
  EXPECT_EQ(segment(vm::cs).type, 11);
}

TEST_F(FarControlTest, RealModeCallAndReturn) {
  real_mode();
  execute({0x9a, 0x00, 0x00, 0x00, 0x10});  // call 0x1000:0
  EXPECT_EQ(stack(0, 2), kCode + 5);
  EXPECT_EQ(stack(1, 2), 0u);
  execute({0xca, 2, 0});  // retf 2
  EXPECT_EQ(guest.cpu().rip, kCode + 5);
  EXPECT_EQ(segment(vm::cs).base, 0u);
  EXPECT_EQ(guest.gpr(vm::rsp), kStack + 2);
}

TEST_F(FarControlTest, RealModeIretRestoresFlags) {
  real_mode();
  push(kIf | kCf | kIopl | kNt | 2, 2);
  push(0x1000, 2);
  push(0x22, 2);
  execute({0xcf});
  EXPECT_EQ(guest.cpu().linear_rip(), 0x10022u);
  EXPECT_EQ(guest.cpu().rflags, kIf | kCf | kIopl | kNt | 2);
}

TEST_F(FarControlTest, JumpTo64BitCodeFromCompatibility) {
  long_mode();
  segment(vm::cs) = {.limit = 0xffffffff, .selector = kCode32, .type = 11, .s = 1, .present = 1, .db = 1, .g = 1};
  guest.core().state_changed();
  EXPECT_EQ(guest.core().code_bits(), 32u);
  execute({0xea, 0, 0xb0, 0, 0, kCode64, 0});
  EXPECT_EQ(guest.core().code_bits(), 64u);
  EXPECT_EQ(guest.cpu().rip, 0xb000u);
  EXPECT_EQ(segment(vm::cs).l, 1);
}

TEST_F(FarControlTest, JumpCannotChangePrivilege) {
  protected_mode();
  execute({0xea, 0, 0xb0, 0, 0, kUserCode32, 0});
  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_EQ(stack(0, 4), kUserCode32 & ~3u);
}

TEST_F(FarControlTest, ConformingCodeKeepsThePrivilege) {
  protected_mode();
  user_mode();
  describe(kFree, 0x00cf9e000000ffff);
  execute({0xea, 0, 0xb0, 0, 0, kFree, 0});
  EXPECT_EQ(guest.cpu().rip, 0xb000u);
  EXPECT_EQ(segment(vm::cs).selector, kFree | 3);
  EXPECT_EQ(guest.core().cpl(), 3u);
}

TEST_F(FarControlTest, JumpOutsideTheLimitChangesNothing) {
  protected_mode();
  describe(kFree, 0x00409b000000ffff);
  execute({0xea, 0, 0, 1, 0, kFree, 0});
  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_EQ(stack(0, 4), 0u);
  EXPECT_EQ(stack(1, 4), kCode);
}

TEST_F(FarControlTest, CallPushesSelectorAndAddress) {
  protected_mode();
  execute({0x9a, 0, 0xb0, 0, 0, kCode32, 0});
  EXPECT_EQ(stack(0, 4), kCode + 7);
  EXPECT_EQ(stack(1, 4), kCode32);
  execute({0xcb});
  EXPECT_EQ(guest.cpu().rip, kCode + 7);
  EXPECT_EQ(guest.gpr(vm::rsp), kStack);
}

TEST_F(FarControlTest, CallGateToTheKernelCopiesParameters) {
  protected_mode();
  user_mode();
  describe(kFree, 0xb000 | uint64_t{kCode32} << 16 | uint64_t{2} << 32 | uint64_t{0xec} << 40);
  push(0x1111, 4);
  push(0x2222, 4);
  execute({0x9a, 0, 0, 0, 0, kFree | 3, 0});
  EXPECT_EQ(guest.cpu().rip, 0xb000u);
  EXPECT_EQ(guest.core().cpl(), 0u);
  EXPECT_EQ(guest.gpr(vm::rsp), kInnerStack - 24);
  EXPECT_EQ(stack(0, 4), kCode + 7);
  EXPECT_EQ(stack(1, 4), kUserCode32);
  EXPECT_EQ(stack(2, 4), 0x2222u);
  EXPECT_EQ(stack(3, 4), 0x1111u);
  EXPECT_EQ(stack(4, 4), kStack - 8);
  EXPECT_EQ(stack(5, 4), kUserData);
}

TEST_F(FarControlTest, OuterReturnReleasesParametersAndDropsKernelSegments) {
  protected_mode();
  push(kUserData, 4);
  push(0x40000, 4);
  push(0, 4);  // a parameter
  push(kUserCode32, 4);
  push(0xb000, 4);
  segment(vm::es).dpl = 3;
  segment(vm::es).selector = kUserData;
  execute({0xca, 4, 0});
  EXPECT_EQ(guest.cpu().rip, 0xb000u);
  EXPECT_EQ(guest.core().cpl(), 3u);
  EXPECT_EQ(guest.gpr(vm::rsp), 0x40004u);
  EXPECT_EQ(segment(vm::ds), (vm::Segment{.unusable = 1}));
  EXPECT_EQ(segment(vm::es).selector, kUserData);
}

TEST_F(FarControlTest, ReturnCannotGoInward) {
  protected_mode();
  user_mode();
  push(kCode32, 4);
  push(0xb000, 4);
  execute({0xcb});
  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_EQ(stack(0, 4), kCode32);
}

TEST_F(FarControlTest, IretToUsersAndFlagsByPrivilege) {
  protected_mode();
  push(kUserData, 4);
  push(0x40000, 4);
  push(2 | kIf | kIopl | kZf, 4);
  push(kUserCode32, 4);
  push(0xb000, 4);
  execute({0xcf});
  EXPECT_EQ(guest.core().cpl(), 3u);
  EXPECT_EQ(guest.cpu().rflags, 2 | kIf | kIopl | kZf);
  EXPECT_EQ(guest.gpr(vm::rsp), 0x40000u);
}

TEST_F(FarControlTest, UsersIretChangesNeitherIfNorIopl) {
  protected_mode();
  user_mode();
  guest.cpu().rflags |= kIf;
  push(2 | kIopl | kZf, 4);
  push(kUserCode32, 4);
  push(0xb000, 4);
  execute({0xcf});
  EXPECT_EQ(guest.cpu().rflags, 2 | kIf | kZf);
}

TEST_F(FarControlTest, IretToVirtual8086) {
  protected_mode();
  for (uint64_t selector : {0x6666, 0x5555, 0x4444, 0x3333, 0x2222}) push(selector, 4);  // gs fs ds es ss
  push(0x1234, 4);
  push(2 | kVm | kIf, 4);
  push(0x1111, 4);
  push(0x10, 4);
  execute({0xcf});
  EXPECT_TRUE(guest.core().virtual_8086());
  EXPECT_EQ(guest.core().cpl(), 3u);
  EXPECT_EQ(guest.core().code_bits(), 16u);
  EXPECT_EQ(guest.cpu().linear_rip(), 0x11120u);
  EXPECT_EQ(guest.gpr(vm::rsp), 0x1234u);
  EXPECT_EQ(segment(vm::ss),
            (vm::Segment{.base = 0x22220, .limit = 0xffff, .selector = 0x2222, .type = 3, .s = 1, .dpl = 3, .present = 1}));
  EXPECT_EQ(segment(vm::gs).selector, 0x6666);
}

TEST_F(FarControlTest, Virtual8086IretKeepsIoplAndNeedsIt) {
  protected_mode();
  virtual_8086_mode(3);
  push(2 | kIf | kCf, 2);
  push(0x1000, 2);
  push(0x22, 2);
  execute({0xcf});
  EXPECT_EQ(guest.cpu().linear_rip(), 0x10022u);
  EXPECT_EQ(guest.cpu().rflags, 2 | kVm | kIopl | kIf | kCf);
  guest.cpu().rflags &= ~kIopl;
  execute({0xcf});
  EXPECT_EQ(vector(), kGeneralProtection);
}

TEST_F(FarControlTest, FarPointerFromADeviceStartsOver) {
  protected_mode();
  guest.code({0xff, 0x1d, 0xfc, 0x0f, 0, 0xc0});  // call far [kDevice + 0xffc], across a page
  ASSERT_TRUE(std::holds_alternative<vm::DeviceAccess>(guest.step()));
  guest.core().answer(0xb000);
  auto exit = guest.core().run(vm::RunMode::complete);
  ASSERT_TRUE(std::holds_alternative<vm::DeviceAccess>(exit));
  EXPECT_EQ(std::get<vm::DeviceAccess>(exit).access, (vm::Access{.size = 2, .addr = kDevice + 0x1000}));
  EXPECT_EQ(guest.gpr(vm::rsp), kStack);
  guest.core().answer(kCode32);
  guest.core().run(vm::RunMode::complete);
  EXPECT_EQ(guest.cpu().rip, 0xb000u);
  EXPECT_EQ(stack(0, 4), kCode + 6);
}

TEST_F(FarControlTest, IretqPopsTheStackAlways) {
  long_mode();
  push(kFlatData, 8);
  push(0x40001, 8);
  push(2 | kZf, 8);
  push(kCode64, 8);
  push(0xb000, 8);
  execute({0x48, 0xcf});
  EXPECT_EQ(guest.cpu().rip, 0xb000u);
  EXPECT_EQ(guest.gpr(vm::rsp), 0x40001u);
  EXPECT_EQ(guest.cpu().rflags, 2 | kZf);
}

TEST_F(FarControlTest, IretqToNonCanonicalFaultsBeforeAnythingChanges) {
  long_mode();
  push(kFlatData, 8);
  push(0x40000, 8);
  push(2, 8);
  push(kCode64, 8);
  push(0x800000000000, 8);
  execute({0x48, 0xcf});
  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_EQ(stack(1, 8), kCode);
  EXPECT_EQ(stack(4, 8), kStack - 40);
}

TEST_F(FarControlTest, LongCallGateChangesTheStack) {
  long_mode();
  user_mode();
  describe(kFree, 0xb000 | uint64_t{kCode64} << 16 | uint64_t{0xec} << 40);
  describe(kFree + 8, 0);
  guest.poke(kData, uint64_t{kFree | 3} << 32);
  execute({0xff, 0x1c, 0x25, 0, 0, 2, 0});  // call far [kData]
  EXPECT_EQ(guest.cpu().rip, 0xb000u);
  EXPECT_EQ(guest.core().cpl(), 0u);
  EXPECT_EQ(guest.gpr(vm::rsp), kInnerStack - 32);
  EXPECT_EQ(stack(0, 8), kCode + 7);
  EXPECT_EQ(stack(2, 8), kStack);
  EXPECT_EQ(segment(vm::ss), (vm::Segment{.limit = 0xfff, .type = 3, .s = 1, .present = 1, .db = 1}));
}

TEST_F(FarControlTest, IntoOnlyOnOverflow) {
  protected_mode();
  execute({0xce});
  EXPECT_EQ(guest.cpu().rip, kCode + 1);
  guest.cpu().rflags |= kOf;
  execute({0xce});
  EXPECT_EQ(vector(), kOverflow);
}

TEST_F(FarControlTest, AFarJumpThroughADeviceReadsThePointerAtOnce) {
  protected_mode();
  guest.code({0xff, 0x2d, 0, 0, 0, 0xc0});  // jmp far [kDevice]

  vm::Exit exit = guest.step();
  ASSERT_TRUE(std::holds_alternative<vm::DeviceAccess>(exit));
  EXPECT_EQ(std::get<vm::DeviceAccess>(exit).access.size, 6);
  guest.core().answer(0xb000 | uint64_t{kCode32} << 32);
  exit = guest.core().run(vm::RunMode::complete);

  EXPECT_TRUE(std::holds_alternative<vm::Completed>(exit));
  EXPECT_EQ(guest.cpu().rip, 0xb000u);
}

TEST_F(FarControlTest, Int1IsADebugTrap) {
  protected_mode();
  execute({0xf1});
  EXPECT_EQ(vector(), kDebug);
  EXPECT_EQ(stack(0, 4), kCode + 1);
}

TEST_F(FarControlTest, SyscallAndSysretIn64BitMode) {
  long_mode();
  user_mode();
  guest.cpu().star = uint64_t{0x23} << 48 | uint64_t{kCode64} << 32;
  guest.cpu().lstar = 0xb000;
  guest.cpu().sfmask = kIf;
  guest.cpu().rflags = 2 | kIf | kCf;
  execute({0x0f, 0x05});
  EXPECT_EQ(guest.cpu().rip, 0xb000u);
  EXPECT_EQ(guest.gpr(vm::rcx), kCode + 2);
  EXPECT_EQ(guest.gpr(vm::r11), 2 | kIf | kCf);
  EXPECT_EQ(guest.cpu().rflags, 2 | kCf);
  EXPECT_EQ(guest.core().cpl(), 0u);
  EXPECT_EQ(segment(vm::cs),
            (vm::Segment{.limit = 0xffffffff, .selector = kCode64, .type = 11, .s = 1, .present = 1, .l = 1, .g = 1}));
  EXPECT_EQ(segment(vm::ss),
            (vm::Segment{.limit = 0xffffffff, .selector = kFlatData, .type = 3, .s = 1, .present = 1, .db = 1, .g = 1}));
  execute({0x48, 0x0f, 0x07});
  EXPECT_EQ(guest.cpu().rip, kCode + 2);
  EXPECT_EQ(guest.core().cpl(), 3u);
  EXPECT_EQ(segment(vm::cs).selector, 0x33);
  EXPECT_EQ(segment(vm::ss).selector, 0x2b);
  EXPECT_EQ(guest.cpu().rflags, 2 | kIf | kCf);
}

TEST_F(FarControlTest, SyscallNeedsItsEnableBit) {
  long_mode();
  guest.cpu().efer &= ~uint64_t{1};
  execute({0x0f, 0x05});
  EXPECT_EQ(vector(), kInvalidOpcode);
}

TEST_F(FarControlTest, SyscallInLegacyMode) {
  protected_mode();
  user_mode();
  guest.cpu().efer = 1;
  guest.cpu().star = uint64_t{0x33} << 48 | uint64_t{kCode32} << 32 | 0xb000;
  guest.cpu().rflags |= kIf;
  execute({0x0f, 0x05});
  EXPECT_EQ(guest.cpu().rip, 0xb000u);
  EXPECT_EQ(guest.gpr(vm::rcx), kCode + 2);
  EXPECT_EQ(guest.cpu().rflags, 2u);
  EXPECT_EQ(segment(vm::cs).db, 1);
  execute({0x0f, 0x07});
  EXPECT_EQ(guest.core().cpl(), 3u);
  EXPECT_EQ(guest.cpu().rip, kCode + 2);
  EXPECT_NE(guest.cpu().rflags & kIf, 0u);
}

TEST_F(FarControlTest, SysenterIsLegacyOnly) {
  protected_mode();
  user_mode();
  guest.cpu().sysenter_cs = kCode32;
  guest.cpu().sysenter_esp = kInnerStack;
  guest.cpu().sysenter_eip = 0xb000;
  execute({0x0f, 0x34});
  EXPECT_EQ(guest.cpu().rip, 0xb000u);
  EXPECT_EQ(guest.gpr(vm::rsp), kInnerStack);
  EXPECT_EQ(guest.core().cpl(), 0u);
  guest.gpr(vm::rdx) = 0xc000;
  guest.gpr(vm::rcx) = 0x40000;
  execute({0x0f, 0x35});
  EXPECT_EQ(guest.cpu().rip, 0xc000u);
  EXPECT_EQ(guest.core().cpl(), 3u);
  EXPECT_EQ(segment(vm::cs).selector, (kCode32 + 16) | 3);
}

TEST_F(FarControlTest, SysenterIsInvalidInLongMode) {
  long_mode();
  execute({0x0f, 0x34});
  EXPECT_EQ(vector(), kInvalidOpcode);
}

}  // namespace
}  // namespace dejavm::soft
