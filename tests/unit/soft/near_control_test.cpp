// Near branches in 16-, 32- and 64-bit code.
#include "soft_fixture.h"
#include "vector_probe.h"

namespace dejavm::soft {
namespace {

class LongBranches : public testing::Test {
 protected:
  void SetUp() override { guest_.long_mode(); }
  uint64_t rip_after(std::initializer_list<int> instruction, uint64_t at = kCode) {
    guest_.code(instruction, at);
    guest_.cpu().rip = at;
    guest_.step();
    return guest_.cpu().rip;
  }
  SoftGuest guest_;
};

TEST_F(LongBranches, Conditions) {
  for (uint64_t flags = 0; flags < 64; ++flags) {
    bool c = (flags & 1) != 0, p = (flags & 2) != 0, z = (flags & 4) != 0, s = (flags & 8) != 0, o = (flags & 16) != 0;
    guest_.cpu().rflags = 2u | (c ? 1u : 0) | (p ? 4u : 0) | (z ? 0x40u : 0) | (s ? 0x80u : 0) | (o ? 0x800u : 0);
    const bool expected[8] = {o, c, z, c || z, s, p, s != o, z || s != o};
    for (int condition = 0; condition < 16; ++condition) {
      bool taken = expected[condition / 2] != (condition % 2 != 0);
      ASSERT_EQ(rip_after({0x70 | condition, 0x10}), taken ? kCode + 0x12 : kCode + 2) << condition << " " << flags;
      ASSERT_EQ(rip_after({0x0f, 0x80 | condition, 0x10, 0, 0, 0}), taken ? kCode + 0x16 : kCode + 6) << condition;
    }
  }
}

TEST_F(LongBranches, CallsAndReturns) {
  EXPECT_EQ(rip_after({0xe8, 0x00, 0x10, 0x00, 0x00}), kCode + 0x1005);
  EXPECT_EQ(guest_.peek(kStack - 8), kCode + 5);
  EXPECT_EQ(rip_after({0xc2, 0x10, 0x00}), kCode + 5);
  EXPECT_EQ(guest_.gpr(vm::rsp), kStack + 0x10);
  guest_.poke(kData, 0x123456);
  guest_.gpr(vm::rax) = kData;
  EXPECT_EQ(rip_after({0xff, 0x10}), 0x123456u);  // call [rax]
  EXPECT_EQ(guest_.peek(kStack + 8), kCode + 2);
  EXPECT_EQ(rip_after({0xff, 0xe0}), kData);  // jmp rax
}

// As an AMD CPU does it: measured on the host by running these bytes.
TEST_F(LongBranches, TheOperandSizePrefixCutsTheTarget) {
  constexpr uint64_t kHigh = 0x112340;
  EXPECT_EQ(rip_after({0x66, 0xe9, 0x10, 0x00}, kHigh), 0x2354u);
  EXPECT_EQ(rip_after({0x66, 0xeb, 0x10}, kHigh), 0x2353u);
  EXPECT_EQ(rip_after({0x66, 0x0f, 0x84, 0x10, 0x00}, kHigh), kHigh + 5);  // not taken: not cut
  EXPECT_EQ(rip_after({0x66, 0xe8, 0x10, 0x00}, kHigh), 0x2354u);
  EXPECT_EQ(guest_.gpr(vm::rsp), kStack - 2);
  EXPECT_EQ(guest_.peek(kStack - 2, 2), 0x2344u);
  EXPECT_EQ(rip_after({0x66, 0xc3}, kHigh), 0x2344u);
  EXPECT_EQ(guest_.gpr(vm::rsp), kStack);
  guest_.gpr(vm::rax) = 0x15789a;
  EXPECT_EQ(rip_after({0x66, 0xff, 0xe0}, kHigh), 0x789au);
  EXPECT_EQ(rip_after({0x66, 0x48, 0xff, 0xe0}, kHigh), 0x15789au);
  EXPECT_EQ(rip_after({0x66, 0x48, 0xe9, 0x10, 0x00, 0x00, 0x00}, kHigh), kHigh + 0x17);
  guest_.gpr(vm::rcx) = 5;
  EXPECT_EQ(rip_after({0x66, 0xe2, 0x10}, kHigh), 0x2353u);
  EXPECT_EQ(guest_.gpr(vm::rcx), 4u);
}

TEST_F(LongBranches, Loops) {
  guest_.gpr(vm::rcx) = 2;
  EXPECT_EQ(rip_after({0xe2, 0x10}), kCode + 0x12);
  EXPECT_EQ(rip_after({0xe2, 0x10}), kCode + 2);
  EXPECT_EQ(rip_after({0xe3, 0x10}), kCode + 0x12);  // jrcxz
  guest_.gpr(vm::rcx) = 0xffffffff00000001;
  EXPECT_EQ(rip_after({0x67, 0xe3, 0x10}), kCode + 3);  // jecxz
  EXPECT_EQ(rip_after({0x67, 0xe2, 0x10}), kCode + 3);
  EXPECT_EQ(guest_.gpr(vm::rcx), 0u);
  guest_.gpr(vm::rcx) = 9;
  guest_.cpu().rflags = 0x42;
  EXPECT_EQ(rip_after({0xe1, 0x10}), kCode + 0x12);  // loope
  EXPECT_EQ(rip_after({0xe0, 0x10}), kCode + 2);     // loopne
  EXPECT_EQ(guest_.gpr(vm::rcx), 7u);
}

TEST(Branches, ATargetThatIsNotCanonicalFaultsAtTheBranch) {
  VectorProbe probe;
  SoftGuest& guest = probe.guest();
  guest.gpr(vm::rax) = uint64_t{1} << 63;
  for (auto instruction : {std::initializer_list<int>{0xff, 0xe0}, {0xff, 0xd0}}) {
    EXPECT_EQ(probe.vector_of(instruction), kGeneralProtection);
    EXPECT_EQ(guest.peek(guest.gpr(vm::rsp) + 8), kCode);
    EXPECT_EQ(guest.peek(guest.gpr(vm::rsp) + 32), kStack);
  }
  guest.poke(kStack, uint64_t{1} << 63);
  EXPECT_EQ(probe.vector_of({0xc3}), kGeneralProtection);
  EXPECT_EQ(guest.peek(guest.gpr(vm::rsp) + 32), kStack);
}

TEST(Branches, TheLimitOfTheCodeSegment) {
  SoftGuest guest;
  guest.protected_mode();
  guest.code({0xe8, 0x00, 0x20, 0x00, 0x00});
  guest.cpu().segment[vm::cs].limit = 0x8fff;
  guest.cpu().segment[vm::cs].g = 0;
  guest.core().state_changed();
  EXPECT_FALSE(guest.step_quietly());
  EXPECT_EQ(guest.peek(kStack - 12, 4), kCode);  // EIP in the frame: flags, CS, EIP, error code
  EXPECT_EQ(guest.gpr(vm::rsp), kStack - 16);
}

TEST(Branches, RealModeWrapsIpAndKeeps32BitTargetsWithinTheLimit) {
  SoftGuest guest;
  guest.real_mode();
  guest.code({0xe9, 0xf0, 0x8f});
  EXPECT_TRUE(guest.step_quietly());
  EXPECT_EQ(guest.cpu().rip, (kCode + 3 + 0x8ff0) & 0xffff);
  guest.cpu().rip = kCode;
  guest.code({0x66, 0xe9, 0xf0, 0x8f, 0x00, 0x00});
  EXPECT_FALSE(guest.step_quietly());
}

}  // namespace
}  // namespace dejavm::soft
