// Entering handlers: frames, stacks, flags and the error codes of what goes wrong on the way.
#include "engine/soft/flags.h"
#include "engine/soft/interrupt_delivery.h"
#include "system_fixture.h"

namespace dejavm::soft {
namespace {

constexpr uint64_t kGate32 = uint64_t{kCode32} << 16 | uint64_t{0x8e} << 40;
constexpr uint64_t kUserGate = uint64_t{0x60} << 40;  // DPL 3

class DeliveryTest : public SystemTest {
 protected:
  /// An interrupt from outside, before an instruction that never runs.
  void interrupt(uint8_t number) {
    guest.core().inject(EventKind::external, number);
    guest.core().run(vm::RunMode::complete);
  }
};

TEST_F(DeliveryTest, RealModePushesThreeWords) {
  real_mode();
  guest.cpu().rflags = 2 | kIf | kTf | kAc | kCf;
  segment(vm::cs).selector = 0x800;
  segment(vm::cs).base = 0x8000;
  guest.cpu().rip = 0x20;
  guest.core().state_changed();
  interrupt(5);
  EXPECT_EQ(vector(), 5);
  EXPECT_EQ(stack(0, 2), 0x20u);
  EXPECT_EQ(stack(1, 2), 0x800u);
  EXPECT_EQ(stack(2, 2), 2 | kIf | kTf | kCf);
  EXPECT_EQ(guest.cpu().rflags, 2 | kCf);
  EXPECT_EQ(segment(vm::cs).base, 0u);
}

TEST_F(DeliveryTest, RealModeOutsideTheTableShutsDown) {
  real_mode();
  guest.cpu().idt.limit = 0;
  guest.code({0xcc});
  EXPECT_TRUE(std::holds_alternative<vm::Shutdown>(guest.step()));
}

TEST_F(DeliveryTest, ProtectedModeSamePrivilege) {
  protected_mode();
  guest.cpu().rflags = 2 | kIf | kTf | kNt | kCf;
  interrupt(32);
  EXPECT_EQ(vector(), 32);
  EXPECT_EQ(guest.gpr(vm::rsp), kStack - 12);
  EXPECT_EQ(stack(0, 4), kCode);
  EXPECT_EQ(stack(1, 4), kCode32);
  EXPECT_EQ(stack(2, 4), 2 | kIf | kTf | kNt | kCf);
  EXPECT_EQ(guest.cpu().rflags, 2 | kCf);
}

TEST_F(DeliveryTest, TrapGateKeepsInterruptsOn) {
  protected_mode();
  gate(32, kGate32 | uint64_t{1} << 40 | kHandlers);
  guest.cpu().rflags |= kIf;
  interrupt(32);
  EXPECT_NE(guest.cpu().rflags & kIf, 0u);
}

TEST_F(DeliveryTest, SixteenBitGatePushesWords) {
  protected_mode();
  gate(32, uint64_t{kCode32} << 16 | uint64_t{0x86} << 40 | uint64_t{0xffff} << 48 | kHandlers);
  interrupt(32);
  EXPECT_EQ(guest.cpu().rip, kHandlers);
  EXPECT_EQ(guest.gpr(vm::rsp), kStack - 6);
}

TEST_F(DeliveryTest, UserProgramIsInterruptedOntoTheKernelsStack) {
  protected_mode();
  user_mode();
  interrupt(32);
  EXPECT_EQ(vector(), 32);
  EXPECT_EQ(guest.core().cpl(), 0u);
  EXPECT_EQ(segment(vm::ss).selector, kFlatData);
  EXPECT_EQ(guest.gpr(vm::rsp), kInnerStack - 20);
  EXPECT_EQ(stack(1, 4), kUserCode32);
  EXPECT_EQ(stack(3, 4), kStack);
  EXPECT_EQ(stack(4, 4), kUserData);
}

TEST_F(DeliveryTest, FaultPushesResumeFlagAndErrorCode) {
  protected_mode();
  guest.gpr(vm::rax) = 0x1000;
  execute({0x8e, 0xd8});  // mov ds, ax
  EXPECT_EQ(stack(0, 4), 0x1000u);
  EXPECT_EQ(stack(1, 4), kCode);
  EXPECT_EQ(stack(3, 4), 2 | kRf);
}

TEST_F(DeliveryTest, TrapPushesTheNextInstruction) {
  protected_mode();
  execute({0xcc});  // int3
  EXPECT_EQ(vector(), kBreakpoint);
  EXPECT_EQ(stack(0, 4), kCode + 1);
  EXPECT_EQ(stack(2, 4), 2u);
}

TEST_F(DeliveryTest, UserCannotCallKernelGates) {
  protected_mode();
  user_mode();
  execute({0xcd, 0x20});  // int 0x20
  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_EQ(stack(0, 4), 0x20u * 8 + 2);
}

TEST_F(DeliveryTest, UserMayCallUserGates) {
  protected_mode();
  user_mode();
  gate(32, kGate32 | kUserGate | (kHandlers + 16 * 32));
  execute({0xcd, 0x20});
  EXPECT_EQ(vector(), 32);
  EXPECT_EQ(stack(0, 4), kCode + 2);
}

TEST_F(DeliveryTest, HardwareMayUseKernelGatesAndSaysSoInErrors) {
  protected_mode();
  gate(32, 0);  // no gate
  interrupt(32);
  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_EQ(stack(0, 4), 32u * 8 + 3);
}

TEST_F(DeliveryTest, AbsentGateIsNotPresent) {
  protected_mode();
  gate(32, (kGate32 | kHandlers) & ~(uint64_t{1} << 47));
  execute({0xcd, 0x20});
  EXPECT_EQ(vector(), kSegmentNotPresent);
  EXPECT_EQ(stack(0, 4), 32u * 8 + 2);
}

TEST_F(DeliveryTest, BadInnerStackIsInvalidTss) {
  protected_mode();
  user_mode();
  guest.poke(kTssBase + 8, kUserData, 4);
  gate(kInvalidTss, uint64_t{0x85} << 40 | uint64_t{kFree} << 16);  // a task gate: it needs no inner stack
  gate(32, kGate32 | kUserGate | kHandlers);
  guest.code({0xcd, 0x20});
  EXPECT_TRUE(std::holds_alternative<vm::Shutdown>(guest.step()));
}

TEST_F(DeliveryTest, Virtual8086SegmentsGoOntoTheKernelsStack) {
  protected_mode();
  virtual_8086_mode(0);
  segment(vm::gs).selector = 0x1111;
  segment(vm::fs).selector = 0x2222;
  segment(vm::ds).selector = 0x3333;
  segment(vm::es).selector = 0x4444;
  interrupt(32);
  EXPECT_EQ(vector(), 32);
  EXPECT_EQ(guest.gpr(vm::rsp), kInnerStack - 36);
  EXPECT_EQ(stack(0, 4), 0u);
  EXPECT_EQ(stack(1, 4), kCode >> 4);
  EXPECT_EQ(stack(2, 4), 2 | kVm);
  EXPECT_EQ(stack(3, 4), kStack);
  EXPECT_EQ(stack(5, 4), 0x4444u);
  EXPECT_EQ(stack(6, 4), 0x3333u);
  EXPECT_EQ(stack(7, 4), 0x2222u);
  EXPECT_EQ(stack(8, 4), 0x1111u);
  EXPECT_EQ(segment(vm::ds), (vm::Segment{.unusable = 1}));
  EXPECT_EQ(guest.cpu().rflags & kVm, 0u);
}

TEST_F(DeliveryTest, Virtual8086IntNeedsIopl3) {
  protected_mode();
  virtual_8086_mode(0);
  execute({0xcd, 0x20});
  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_EQ(stack(0, 4), 0u);
}

TEST_F(DeliveryTest, LongModeAlignsTheStackAndAlwaysPushesIt) {
  long_mode();
  guest.gpr(vm::rsp) = kStack - 3;
  interrupt(32);
  EXPECT_EQ(vector(), 32);
  EXPECT_EQ(guest.gpr(vm::rsp), kStack - 16 - 40);
  EXPECT_EQ(stack(0, 8), kCode);
  EXPECT_EQ(stack(1, 8), kCode64);
  EXPECT_EQ(stack(3, 8), kStack - 3);
  EXPECT_EQ(stack(4, 8), kFlatData);
  EXPECT_EQ(segment(vm::ss).selector, kFlatData);
}

TEST_F(DeliveryTest, LongModeInnerStackIsNull) {
  long_mode();
  user_mode();
  interrupt(32);
  EXPECT_EQ(vector(), 32);
  EXPECT_EQ(guest.core().cpl(), 0u);
  EXPECT_EQ(segment(vm::ss), (vm::Segment{.limit = 0xfff, .type = 3, .s = 1, .present = 1, .db = 1}));
  EXPECT_EQ(guest.gpr(vm::rsp), kInnerStack - 40);
  EXPECT_EQ(stack(1, 8), kUserCode64);
  EXPECT_EQ(stack(4, 8), kUserData);
}

TEST_F(DeliveryTest, InterruptStackTable) {
  long_mode();
  guest.poke(kTssBase + 36 + 8, kInnerStack + 0x1000);
  gate(32, uint64_t{kCode64} << 16 | uint64_t{0x8e} << 40 | uint64_t{2} << 32 | kHandlers);
  interrupt(32);
  EXPECT_EQ(guest.gpr(vm::rsp), kInnerStack + 0x1000 - 40);
  EXPECT_EQ(segment(vm::ss).selector, kFlatData);
}

TEST_F(DeliveryTest, LongModeHandlersMustBe64Bit) {
  long_mode();
  gate(32, uint64_t{kCode32} << 16 | uint64_t{0x8e} << 40 | kHandlers);
  execute({0xcd, 0x20});
  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_EQ(stack(0, 8), kCode32);
}

TEST_F(DeliveryTest, FrameOnADeviceIsCompletedByAnswers) {
  protected_mode();
  guest.gpr(vm::rsp) = kDevice + 0x100;
  guest.core().inject(EventKind::external, 32);
  for (int i = 0; i < 3; ++i) {
    auto exit = guest.core().run(vm::RunMode::complete);
    ASSERT_TRUE(std::holds_alternative<vm::DeviceAccess>(exit));
    EXPECT_EQ(std::get<vm::DeviceAccess>(exit).access.addr, kDevice + 0x100 - 4 * static_cast<uint64_t>(i + 1));
    EXPECT_EQ(guest.cpu().rip, kCode);
  }
  guest.core().run(vm::RunMode::complete);
  EXPECT_EQ(vector(), 32);
  EXPECT_EQ(guest.gpr(vm::rsp), kDevice + 0x100 - 12);
}

TEST_F(DeliveryTest, NmiIsMaskedUntilIret) {
  protected_mode();
  guest.core().inject(EventKind::nmi, kNmi);
  guest.core().run(vm::RunMode::complete);
  EXPECT_EQ(guest.cpu().nmi_masked, 1);
  execute({0xcf});  // iret
  EXPECT_EQ(guest.cpu().nmi_masked, 0);
  EXPECT_EQ(guest.cpu().rip, kCode);
}

}  // namespace
}  // namespace dejavm::soft
