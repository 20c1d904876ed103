// String instructions: steps, faults in the middle, devices, ports, address sizes.
#include "soft_fixture.h"

namespace dejavm::soft {
namespace {

class LongStrings : public testing::Test {
 protected:
  void SetUp() override { guest_.long_mode(); }
  void set(uint64_t rsi, uint64_t rdi, uint64_t rcx) {
    guest_.gpr(vm::rsi) = rsi;
    guest_.gpr(vm::rdi) = rdi;
    guest_.gpr(vm::rcx) = rcx;
  }
  vm::Access access(const vm::Exit& exit) {
    const auto* device = std::get_if<vm::DeviceAccess>(&exit);
    EXPECT_NE(device, nullptr);
    return device != nullptr ? device->access : vm::Access{};
  }
  SoftGuest guest_;
};

TEST_F(LongStrings, AFreeRunStopsBetweenAnyTwoIterations) {
  guest_.code({0xf3, 0xaa});  // rep stosb
  set(0, kData + 0x10, 10000);
  for (uint64_t limit : {1u, 2u, 500u, 5000u, 9999u}) {
    guest_.core().step_limit = limit;
    EXPECT_TRUE(std::holds_alternative<vm::StepLimit>(guest_.run()));
    EXPECT_EQ(guest_.core().steps, limit);
    EXPECT_EQ(guest_.gpr(vm::rcx), 10000 - limit);
    EXPECT_EQ(guest_.gpr(vm::rdi), kData + 0x10 + limit);
    EXPECT_EQ(guest_.cpu().rip, kCode);
  }
  EXPECT_TRUE(guest_.step_quietly());
  EXPECT_EQ(guest_.core().steps, 10000u);
  EXPECT_EQ(guest_.cpu().rip, kCode + 2);
}

TEST_F(LongStrings, AStepIsOneIteration) {
  guest_.code({0xf3, 0xa4});  // rep movsb
  set(kData, kData + 100, 3);
  EXPECT_TRUE(guest_.step_quietly());
  EXPECT_EQ(guest_.gpr(vm::rcx), 2u);
  EXPECT_EQ(guest_.cpu().rip, kCode);
  EXPECT_EQ(guest_.core().steps, 1u);
}

TEST_F(LongStrings, CountZeroIsOneStepAndTouchesNothing) {
  guest_.code({0x67, 0xf3, 0xac});  // rep lodsb, 32-bit addresses: ECX is 0, RCX is not
  set(kDevice, 0, 0xffffffff00000000);
  guest_.gpr(vm::rsi) |= 0xffffffff00000000;
  EXPECT_TRUE(guest_.step_quietly());
  EXPECT_EQ(guest_.gpr(vm::rcx), 0xffffffff00000000);
  EXPECT_EQ(guest_.gpr(vm::rsi), kDevice | 0xffffffff00000000);
  EXPECT_EQ(guest_.core().steps, 1u);
  EXPECT_EQ(guest_.cpu().rip, kCode + 3);
}

TEST_F(LongStrings, AFaultKeepsTheIterationsBeforeIt) {
  guest_.code({0xf3, 0x48, 0xab});  // rep stosq; behind 2 MiB nothing is mapped
  set(0, kRamSize - 0x44, 100);
  guest_.gpr(vm::rax) = 0x1111111111111111;
  while (guest_.cpu().rip == kCode) guest_.core().run(vm::RunMode::step);
  EXPECT_EQ(guest_.cpu().rip, kHandler);
  EXPECT_EQ(guest_.cpu().cr2, kRamSize);
  EXPECT_EQ(guest_.gpr(vm::rcx), 100u - 8);
  EXPECT_EQ(guest_.gpr(vm::rdi), kRamSize - 4);
  EXPECT_EQ(guest_.peek(kRamSize - 4, 4), 0u);
  EXPECT_EQ(guest_.peek(kRamSize - 12), 0x1111111111111111u);
  EXPECT_EQ(guest_.core().steps, 9u);  // 8 iterations and the delivery
}

TEST_F(LongStrings, BulkAndStepsEndAtTheSameFault) {
  guest_.code({0xf3, 0x48, 0xab});
  set(0, kRamSize - 0x44, 100);
  guest_.core().step_limit = 9;
  EXPECT_TRUE(std::holds_alternative<vm::StepLimit>(guest_.run()));
  EXPECT_EQ(guest_.cpu().rip, kHandler);
  EXPECT_EQ(guest_.gpr(vm::rcx), 100u - 8);
}

TEST_F(LongStrings, OverlappingMovesGoElementByElementAcrossPages) {
  guest_.code({0xf3, 0xa4, 0xf4});
  guest_.poke(kData, 0x5a, 1);
  set(kData, kData + 1, 9000);
  EXPECT_TRUE(std::holds_alternative<vm::Halted>(guest_.run()));
  EXPECT_EQ(guest_.core().steps, 9001u);
  EXPECT_EQ(guest_.peek(kData + 8993), 0x5a5a5a5a5a5a5a5au);
  EXPECT_EQ(guest_.peek(kData + 9001), 0u);
}

TEST_F(LongStrings, BackwardsAcrossPages) {
  guest_.code({0xfd, 0xf3, 0x66, 0xa5, 0xf4});  // std; rep movsw; hlt
  for (uint64_t i = 0; i < 3000; ++i) guest_.poke(kData + 2 * i, i, 2);
  set(kData + 5998, kData + 0x8000 + 5999, 3000);  // the destination's words cross pages
  EXPECT_TRUE(std::holds_alternative<vm::Halted>(guest_.run()));
  for (uint64_t i = 0; i < 3000; ++i) ASSERT_EQ(guest_.peek(kData + 0x8001 + 2 * i, 2), i);
  EXPECT_EQ(guest_.gpr(vm::rsi), kData - 2);
}

TEST_F(LongStrings, ScanStopsBehindTheByteThatItFinds) {
  guest_.code({0xf2, 0xae, 0xf4});  // repne scasb
  guest_.poke(kData + 5000, 0x77, 1);
  set(0, kData, 1u << 20);
  guest_.gpr(vm::rax) = 0x77;
  EXPECT_TRUE(std::holds_alternative<vm::Halted>(guest_.run()));
  EXPECT_EQ(guest_.gpr(vm::rdi), kData + 5001);
  EXPECT_EQ(guest_.gpr(vm::rcx), (1u << 20) - 5001);
  EXPECT_EQ(guest_.core().steps, 5002u);
  EXPECT_NE(guest_.cpu().rflags & 0x40, 0u);
}

TEST_F(LongStrings, EveryElementOfADeviceIsAnExit) {
  guest_.code({0xf3, 0xa5});  // rep movsd
  set(kDevice, kData, 2);
  for (uint64_t i = 0; i < 2; ++i) {
    EXPECT_EQ(access(guest_.run()), (vm::Access{vm::Space::mmio, vm::Direction::read, 4, kDevice + 4 * i, 0}));
    EXPECT_EQ(guest_.gpr(vm::rcx), 2 - i);
    guest_.core().answer(0xaa00 + i);
  }
  guest_.core().run(vm::RunMode::complete);
  EXPECT_EQ(guest_.peek(kData), 0x0000aa01'0000aa00u);
  EXPECT_EQ(guest_.cpu().rip, kCode + 2);
  EXPECT_EQ(guest_.core().steps, 2u);
}

TEST_F(LongStrings, PortStrings) {
  guest_.code({0xf3, 0x66, 0x6d, 0x6e});  // rep insw; outsb
  set(kData, kData, 2);
  guest_.gpr(vm::rdx) = 0x1f0;
  for (uint64_t i = 0; i < 2; ++i) {
    EXPECT_EQ(access(guest_.run()), (vm::Access{vm::Space::pio, vm::Direction::read, 2, 0x1f0, 0}));
    EXPECT_EQ(guest_.cpu().rip, kCode);
    guest_.core().answer(0x4241 + i);
  }
  EXPECT_EQ(access(guest_.run()), (vm::Access{vm::Space::pio, vm::Direction::write, 1, 0x1f0, 0x41}));
  EXPECT_EQ(guest_.peek(kData, 4), 0x42424241u);
  EXPECT_EQ(guest_.gpr(vm::rsi), kData);
  guest_.core().run(vm::RunMode::complete);
  EXPECT_EQ(guest_.gpr(vm::rsi), kData + 1);
  EXPECT_EQ(guest_.cpu().rip, kCode + 4);
}

TEST_F(LongStrings, APortIsNotReadWhenTheDestinationFaults) {
  guest_.code({0x6c});  // insb
  set(0, kRamSize, 0);
  EXPECT_FALSE(guest_.step_quietly());
  EXPECT_EQ(guest_.cpu().cr2, kRamSize);
}

TEST_F(LongStrings, SegmentOverridesMoveTheSource) {
  guest_.code({0x64, 0xac});  // lodsb fs:[rsi]
  guest_.cpu().segment[vm::fs].base = 0x1000;
  guest_.poke(kData + 0x1000, 0x99, 1);
  set(kData, 0, 0);
  EXPECT_TRUE(guest_.step_quietly());
  EXPECT_EQ(guest_.gpr(vm::rax), 0x99u);
}

TEST_F(LongStrings, AnInstructionThatOverwritesItselfGoesOnAsWritten) {
  guest_.code({0xf3, 0xaa, 0xf4});  // rep stosb over itself with NOPs
  set(0, kCode, 16);
  guest_.gpr(vm::rax) = 0x90;
  EXPECT_TRUE(std::holds_alternative<vm::Halted>(guest_.run()));
  EXPECT_EQ(guest_.cpu().rip, kCode + 3);
  EXPECT_EQ(guest_.gpr(vm::rcx), 15u);  // after one iteration it is a NOP and a STOSB
  EXPECT_EQ(guest_.gpr(vm::rdi), kCode + 2);
}

TEST(RealStrings, OffsetsWrapAt64KiB) {
  SoftGuest guest;
  guest.real_mode();
  guest.code({0xf3, 0xa4, 0xf4});
  guest.cpu().segment[vm::es].base = 0x30000;
  guest.cpu().segment[vm::es].selector = 0x3000;
  guest.cpu().segment[vm::ds].base = 0x20000;
  guest.cpu().segment[vm::ds].selector = 0x2000;
  guest.core().state_changed();
  guest.poke(0x2fffe, 0x2211, 2);
  guest.poke(0x20000, 0x33, 1);
  guest.gpr(vm::rsi) = 0xabcdfffe;
  guest.gpr(vm::rdi) = 0xffff;
  guest.gpr(vm::rcx) = 0x10003;
  EXPECT_TRUE(std::holds_alternative<vm::Halted>(guest.run()));
  EXPECT_EQ(guest.peek(0x3ffff, 1), 0x11u);
  EXPECT_EQ(guest.peek(0x30000, 2), 0x3322u);
  EXPECT_EQ(guest.gpr(vm::rsi), 0xabcd0001u);
  EXPECT_EQ(guest.gpr(vm::rdi), 2u);
  EXPECT_EQ(guest.gpr(vm::rcx), 0x10000u);
}

TEST(ProtectedStrings, TheLimitEndsARunExactly) {
  SoftGuest guest;
  guest.protected_mode();
  guest.code({0xf3, 0xab});  // rep stosd
  vm::Segment& es = guest.cpu().segment[vm::es];
  es.limit = static_cast<uint32_t>(kData + 0x1d);  // the eighth dword does not fit
  es.g = 0;
  guest.core().state_changed();
  guest.gpr(vm::rdi) = kData;
  guest.gpr(vm::rcx) = 20;
  guest.gpr(vm::rax) = 0x12345678;
  guest.core().step_limit = 8;
  EXPECT_TRUE(std::holds_alternative<vm::StepLimit>(guest.run()));
  EXPECT_EQ(guest.cpu().rip, kHandler);
  EXPECT_EQ(guest.gpr(vm::rcx), 13u);
  EXPECT_EQ(guest.peek(kData + 0x18), 0x12345678u);
}

}  // namespace
}  // namespace dejavm::soft
