// Segment registers: loads with their checks, and what the hidden parts hold afterwards.
#include "system_fixture.h"

namespace dejavm::soft {
namespace {

constexpr uint64_t kFlatWritable = 0x00cf92000000ffff;  // not accessed yet
constexpr uint64_t kFlatReadOnly = 0x00cf91000000ffff;

class SegmentTest : public SystemTest {};

TEST_F(SegmentTest, RealModeChangesSelectorAndBaseOnly) {
  real_mode();
  segment(vm::ds) = {.limit = 0xffffffff, .type = 3, .s = 1, .present = 1, .db = 1, .g = 1};
  guest.gpr(vm::rax) = 0x1234;
  execute({0x8e, 0xd8});  // mov ds, ax
  EXPECT_EQ(segment(vm::ds).selector, 0x1234);
  EXPECT_EQ(segment(vm::ds).base, 0x12340u);
  EXPECT_EQ(segment(vm::ds).limit, 0xffffffffu);
  EXPECT_EQ(segment(vm::ds).db, 1);
}

TEST_F(SegmentTest, LoadTakesTheDescriptorAndMarksItAccessed) {
  protected_mode();
  describe(kFree, 0x12c0f2345678abcd);
  guest.gpr(vm::rax) = kFree | 3;
  execute({0x8e, 0xd8});
  vm::Segment expected{.base = 0x12345678,
                       .limit = 0xabcdfff,
                       .selector = kFree | 3,
                       .type = 3,
                       .s = 1,
                       .dpl = 3,
                       .present = 1,
                       .db = 1,
                       .g = 1};
  EXPECT_EQ(segment(vm::ds).base, expected.base);
  EXPECT_EQ(segment(vm::ds), expected);
  EXPECT_EQ(guest.peek(kGdt + kFree + 5, 1), 0xf3u);
}

TEST_F(SegmentTest, NullIsUnusableAndItsUseFaults) {
  protected_mode();
  execute({0x8e, 0xd8});  // mov ds, ax
  EXPECT_EQ(segment(vm::ds), (vm::Segment{.unusable = 1}));
  execute({0xa0, 0, 0, 2, 0});  // mov al, [0x20000]
  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_EQ(stack(0, 4), 0u);
}

TEST_F(SegmentTest, NullStackFaultsOutsideOf64BitMode) {
  protected_mode();
  execute({0x8e, 0xd0});  // mov ss, ax
  EXPECT_EQ(vector(), kGeneralProtection);
}

TEST_F(SegmentTest, NullStackIsFineForKernelsIn64BitMode) {
  long_mode();
  execute({0x8e, 0xd0});
  EXPECT_EQ(vector(), -1);
  EXPECT_EQ(segment(vm::ss).selector, 0);
  EXPECT_EQ(segment(vm::ss).dpl, 0);
}

TEST_F(SegmentTest, NullStackFaultsForUsersIn64BitMode) {
  long_mode();
  user_mode();
  guest.gpr(vm::rax) = 3;
  execute({0x8e, 0xd0});
  EXPECT_EQ(vector(), kGeneralProtection);
}

TEST_F(SegmentTest, AbsentDataIsNotPresentAndAbsentStackIsStackFault) {
  protected_mode();
  describe(kFree, kFlatWritable & ~(uint64_t{1} << 47));
  guest.gpr(vm::rax) = kFree;
  execute({0x8e, 0xd8});
  EXPECT_EQ(vector(), kSegmentNotPresent);
  EXPECT_EQ(stack(0, 4), kFree);
  execute({0x8e, 0xd0});
  EXPECT_EQ(vector(), kStackFault);
  EXPECT_EQ(stack(0, 4), kFree);
}

TEST_F(SegmentTest, SelectorOutsideTheTableFaultsWithTheSelector) {
  protected_mode();
  guest.gpr(vm::rax) = 0x1003;
  execute({0x8e, 0xd8});
  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_EQ(stack(0, 4), 0x1000u);
}

TEST_F(SegmentTest, UserCannotLoadKernelData) {
  protected_mode();
  user_mode();
  guest.gpr(vm::rax) = kFlatData;
  execute({0x8e, 0xd8});
  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_EQ(stack(0, 4), kFlatData);
}

TEST_F(SegmentTest, StackMustBeWritableAndOfTheSamePrivilege) {
  protected_mode();
  describe(kFree, kFlatReadOnly);
  guest.gpr(vm::rax) = kFree;
  execute({0x8e, 0xd0});
  EXPECT_EQ(vector(), kGeneralProtection);
  guest.gpr(vm::rax) = kUserData;
  execute({0x8e, 0xd0});
  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_EQ(stack(0, 4), kUserData & ~3u);
}

TEST_F(SegmentTest, LoadingStackHoldsInterruptsBack) {
  protected_mode();
  guest.gpr(vm::rax) = kFlatData;
  execute({0x8e, 0xd0});
  EXPECT_EQ(guest.cpu().interrupt_shadow, 2);
  execute({0x90});
  EXPECT_EQ(guest.cpu().interrupt_shadow, 0);
}

TEST_F(SegmentTest, CodeSegmentCannotBeMovedTo) {
  protected_mode();
  guest.gpr(vm::rax) = kCode32;
  execute({0x8e, 0xc8});
  EXPECT_EQ(vector(), kInvalidOpcode);
}

TEST_F(SegmentTest, LocalTableIsUsedForLocalSelectors) {
  protected_mode();
  guest.poke(kData, kFlatWritable);
  guest.cpu().ldt = {.base = kData, .limit = 7, .selector = kFree, .type = 2, .present = 1};
  guest.gpr(vm::rax) = 4;
  execute({0x8e, 0xc0});  // mov es, ax
  EXPECT_EQ(vector(), -1);
  EXPECT_EQ(segment(vm::es).limit, 0xffffffffu);
  guest.gpr(vm::rax) = 0xc;
  execute({0x8e, 0xc0});
  EXPECT_EQ(vector(), kGeneralProtection);
}

TEST_F(SegmentTest, StoresZeroExtendToRegistersAndAre16BitsInMemory) {
  protected_mode();
  guest.gpr(vm::rax) = 0xffffffffffffffff;
  execute({0x8c, 0xd8});  // mov eax, ds
  EXPECT_EQ(guest.gpr(vm::rax), kFlatData);
  guest.gpr(vm::rax) = 0xffffffff;
  execute({0x66, 0x8c, 0xd8});
  EXPECT_EQ(guest.gpr(vm::rax), 0xffff0000u | kFlatData);
  guest.poke(kData, ~uint64_t{0});
  execute({0x8c, 0x1d, 0, 0, 2, 0});
  EXPECT_EQ(guest.peek(kData), 0xffffffffffff0000 | kFlatData);
}

TEST_F(SegmentTest, PushAndPopMoveByTheOperandSize) {
  protected_mode();
  guest.poke(kStack - 4, 0xffffffff, 4);
  execute({0x1e});  // push ds
  EXPECT_EQ(guest.gpr(vm::rsp), kStack - 4);
  EXPECT_EQ(guest.peek(kStack - 4, 2), kFlatData);
  execute({0x07});  // pop es
  EXPECT_EQ(guest.gpr(vm::rsp), kStack);
  EXPECT_EQ(segment(vm::es).selector, kFlatData);
}

TEST_F(SegmentTest, PushAndPopOfFsAre8BytesIn64BitMode) {
  long_mode();
  execute({0x0f, 0xa0});  // push fs
  EXPECT_EQ(guest.gpr(vm::rsp), kStack - 8);
  EXPECT_EQ(guest.peek(kStack - 8), kFlatData);
  execute({0x0f, 0xa9});  // pop gs
  EXPECT_EQ(guest.gpr(vm::rsp), kStack);
}

TEST_F(SegmentTest, FarPointerLoadsSegmentAndRegister) {
  protected_mode();
  guest.poke(kData, 0x89abcdef | uint64_t{kUserData} << 32);
  execute({0xc4, 0x0d, 0, 0, 2, 0});  // les ecx, [0x20000]
  EXPECT_EQ(guest.gpr(vm::rcx), 0x89abcdefu);
  EXPECT_EQ(segment(vm::es).selector, kUserData);
}

TEST_F(SegmentTest, FarPointerOnADeviceIsReadAtOnce) {
  protected_mode();
  guest.code({0xc4, 0x0d, 0, 0, 0, 0xc0});  // les ecx, [kDevice]

  vm::Exit exit = guest.step();
  ASSERT_TRUE(std::holds_alternative<vm::DeviceAccess>(exit));
  vm::Access access = std::get<vm::DeviceAccess>(exit).access;
  guest.core().answer(0x89abcdef | uint64_t{kUserData} << 32);
  exit = guest.core().run(vm::RunMode::complete);

  EXPECT_TRUE(std::holds_alternative<vm::Completed>(exit));
  EXPECT_EQ(access.addr, kDevice);
  EXPECT_EQ(access.size, 6);
  EXPECT_EQ(guest.gpr(vm::rcx), 0x89abcdefu);
  EXPECT_EQ(segment(vm::es).selector, kUserData);
}

TEST_F(SegmentTest, FarPointerOf10BytesOnADeviceHasTwoFragments) {
  long_mode();
  guest.gpr(vm::rsi) = kDevice + 4;
  guest.code({0x48, 0x0f, 0xb4, 0x0e});  // lfs rcx, [rsi]

  vm::Exit exit = guest.step();
  ASSERT_TRUE(std::holds_alternative<vm::DeviceAccess>(exit));
  EXPECT_EQ(std::get<vm::DeviceAccess>(exit).access.size, 8);
  guest.core().answer(0x123456789abcdef0);
  exit = guest.core().run(vm::RunMode::complete);
  ASSERT_TRUE(std::holds_alternative<vm::DeviceAccess>(exit));
  EXPECT_EQ(std::get<vm::DeviceAccess>(exit).access.addr, kDevice + 12);
  EXPECT_EQ(std::get<vm::DeviceAccess>(exit).access.size, 2);
  guest.core().answer(kFlatData);
  exit = guest.core().run(vm::RunMode::complete);

  EXPECT_TRUE(std::holds_alternative<vm::Completed>(exit));
  EXPECT_EQ(guest.gpr(vm::rcx), 0x123456789abcdef0u);
  EXPECT_EQ(segment(vm::fs).selector, kFlatData);
}

TEST_F(SegmentTest, FaultingFarPointerChangesNothing) {
  protected_mode();
  guest.poke(kData, 0x89abcdef | uint64_t{0x1008} << 32);
  execute({0xc4, 0x0d, 0, 0, 2, 0});
  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_EQ(guest.gpr(vm::rcx), 0u);
  EXPECT_EQ(segment(vm::es).selector, kFlatData);
}

TEST_F(SegmentTest, LimitIsChecked) {
  protected_mode();
  segment(vm::ds).limit = kData + 2;
  guest.core().state_changed();
  execute({0x66, 0xa1, 1, 0, 2, 0});  // mov ax, [kData + 1]
  EXPECT_EQ(vector(), -1);
  execute({0x66, 0xa1, 2, 0, 2, 0});
  EXPECT_EQ(vector(), kGeneralProtection);
}

TEST_F(SegmentTest, ExpandDownCountsFromTheTop) {
  protected_mode();
  segment(vm::ds) = {.limit = kData - 1, .selector = kFree, .type = 7, .s = 1, .present = 1, .db = 1};
  guest.core().state_changed();
  execute({0xa0, 0, 0, 2, 0});  // mov al, [kData]
  EXPECT_EQ(vector(), -1);
  execute({0xa0, 0xff, 0xff, 1, 0});  // mov al, [kData - 1]
  EXPECT_EQ(vector(), kGeneralProtection);
}

TEST_F(SegmentTest, ReadOnlyDataAndCodeCannotBeWritten) {
  protected_mode();
  segment(vm::ds).type = 1;
  guest.core().state_changed();
  execute({0xa2, 0, 0, 2, 0});  // mov [kData], al
  EXPECT_EQ(vector(), kGeneralProtection);
  execute({0x2e, 0xa2, 0, 0, 2, 0});  // mov cs:[kData], al
  EXPECT_EQ(vector(), kGeneralProtection);
}

TEST_F(SegmentTest, AccessRightsOfCodeAndData) {
  protected_mode();
  guest.gpr(vm::rbx) = kUserCode32;
  execute({0x0f, 0x02, 0xc3});  // lar eax, ebx
  EXPECT_EQ(guest.gpr(vm::rax), 0x00cffb00u);
  EXPECT_NE(guest.cpu().rflags & 0x40, 0u);
  execute({0x0f, 0x03, 0xc3});  // lsl eax, ebx
  EXPECT_EQ(guest.gpr(vm::rax), 0xffffffffu);
}

TEST_F(SegmentTest, WhatCannotBeSeenClearsZeroAndKeepsTheRegister) {
  protected_mode();
  user_mode();
  guest.gpr(vm::rax) = 77;
  guest.gpr(vm::rbx) = kCode32;  // privileged
  guest.cpu().rflags |= 0x40;
  execute({0x0f, 0x02, 0xc3});
  EXPECT_EQ(guest.gpr(vm::rax), 77u);
  EXPECT_EQ(guest.cpu().rflags & 0x40, 0u);
}

TEST_F(SegmentTest, VerifyToldByType) {
  protected_mode();
  guest.gpr(vm::rbx) = kCode32;
  execute({0x0f, 0x00, 0xe3});  // verr bx
  EXPECT_NE(guest.cpu().rflags & 0x40, 0u);
  execute({0x0f, 0x00, 0xeb});  // verw bx
  EXPECT_EQ(guest.cpu().rflags & 0x40, 0u);
  guest.gpr(vm::rbx) = kFlatData;
  execute({0x0f, 0x00, 0xeb});
  EXPECT_NE(guest.cpu().rflags & 0x40, 0u);
}

TEST_F(SegmentTest, ArplRaisesThePrivilegeLevel) {
  protected_mode();
  guest.gpr(vm::rax) = 0x10;
  guest.gpr(vm::rbx) = 3;
  execute({0x63, 0xd8});  // arpl ax, bx
  EXPECT_EQ(guest.gpr(vm::rax), 0x13u);
  EXPECT_NE(guest.cpu().rflags & 0x40, 0u);
  guest.poke(kData, 0x21, 2);
  execute({0x63, 0x1d, 0, 0, 2, 0});  // arpl [kData], bx
  EXPECT_EQ(guest.peek(kData, 2), 0x23u);
}

TEST_F(SegmentTest, LookingIsInvalidInRealMode) {
  real_mode();
  execute({0x0f, 0x02, 0xc3});
  EXPECT_EQ(vector(), kInvalidOpcode);
}

TEST_F(SegmentTest, SwapGsExchangesTheBases) {
  long_mode();
  segment(vm::gs).base = 0x1000;
  guest.cpu().kernel_gs_base = 0xffff800000000000;
  execute({0x0f, 0x01, 0xf8});
  EXPECT_EQ(segment(vm::gs).base, 0xffff800000000000u);
  EXPECT_EQ(guest.cpu().kernel_gs_base, 0x1000u);
}

TEST_F(SegmentTest, SwapGsIsForKernels) {
  long_mode();
  user_mode();
  execute({0x0f, 0x01, 0xf8});
  EXPECT_EQ(vector(), kGeneralProtection);
}

TEST_F(SegmentTest, LoadFromADeviceIsCarriedOutOnce) {
  protected_mode();
  guest.code({0x8e, 0x1d, 0, 0, 0, 0xc0});  // mov ds, [kDevice]
  auto exit = guest.step();
  ASSERT_TRUE(std::holds_alternative<vm::DeviceAccess>(exit));
  EXPECT_EQ(segment(vm::ds).selector, kFlatData);
  guest.core().answer(kUserData);
  guest.core().run(vm::RunMode::complete);
  EXPECT_EQ(segment(vm::ds).selector, kUserData);
  EXPECT_EQ(guest.cpu().rip, kCode + 6);
}

}  // namespace
}  // namespace dejavm::soft
