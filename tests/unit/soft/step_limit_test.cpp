// A run ends at exactly the count of steps that it was given, whatever is delivered on the way.
#include "engine/soft/flags.h"
#include "system_fixture.h"

namespace dejavm::soft {
namespace {

class StepLimitTest : public SystemTest {
 protected:
  /// Runs freely to a count of steps.
  void run_to(uint64_t steps) {
    guest.core().step_limit = steps;
    EXPECT_TRUE(std::holds_alternative<vm::StepLimit>(guest.run()));
    EXPECT_EQ(guest.core().steps, steps);
    EXPECT_FALSE(guest.core().injection_pending());
  }
};

TEST_F(StepLimitTest, ATrapBelongsToItsInstruction) {
  protected_mode();
  guest.code({0x90, 0x90, 0x90, 0x90});
  guest.code({0xcf}, kHandlers + 16 * kDebug);  // iret
  guest.cpu().rflags |= kTf;

  for (uint64_t nop = 0; nop < 4; ++nop) {
    run_to(2 * nop + 1);
    EXPECT_EQ(vector(), kDebug);
    EXPECT_EQ(stack(0, 4), kCode + nop + 1);
    run_to(2 * nop + 2);
    EXPECT_EQ(guest.cpu().rip, kCode + nop + 1);
  }
}

TEST_F(StepLimitTest, EveryIterationOfAStringInstructionHasItsTrap) {
  protected_mode();
  guest.code({0xf3, 0xaa, 0xf4});               // rep stosb; hlt
  guest.code({0xcf}, kHandlers + 16 * kDebug);  // iret
  guest.cpu().rflags |= kTf;
  guest.gpr(vm::rcx) = 3;
  guest.gpr(vm::rdi) = kData;

  for (uint64_t iteration = 1; iteration <= 3; ++iteration) {
    run_to(2 * iteration - 1);
    EXPECT_EQ(vector(), kDebug);
    EXPECT_EQ(guest.gpr(vm::rdi), kData + iteration);
    run_to(2 * iteration);
  }
  EXPECT_EQ(guest.cpu().rip, kCode + 2);
}

TEST_F(StepLimitTest, Int1AndItsTrapAreOneStep) {
  protected_mode();
  guest.code({0xf1});

  run_to(1);

  EXPECT_EQ(vector(), kDebug);
  EXPECT_EQ(stack(0, 4), kCode + 1);
}

TEST_F(StepLimitTest, AFaultComesInsteadOfItsInstruction) {
  protected_mode();
  guest.code({0x0f, 0x0b});  // ud2

  run_to(1);

  EXPECT_EQ(vector(), kInvalidOpcode);
}

TEST_F(StepLimitTest, AnInterruptThatFailsToBeDeliveredIsNoStep) {
  protected_mode();
  guest.code({0x90});
  gate(32, 0);  // none

  guest.core().inject(EventKind::external, 32);
  run_to(0);

  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_EQ(stack(0, 4), 32u * 8 + 3);
}

TEST_F(StepLimitTest, ATrapWhoseFrameLiesOnADeviceIsFinishedWithItsInstruction) {
  protected_mode();
  guest.code({0x90, 0x90});
  guest.cpu().rflags |= kTf;
  guest.gpr(vm::rsp) = kDevice + 0x100;

  auto exit = guest.step();
  for (int writes = 0; writes < 3; ++writes) {
    ASSERT_TRUE(std::holds_alternative<vm::DeviceAccess>(exit)) << writes;
    EXPECT_EQ(guest.core().steps, 1u);
    exit = guest.core().run(vm::RunMode::complete);
  }

  EXPECT_TRUE(std::holds_alternative<vm::Completed>(exit));
  EXPECT_EQ(vector(), kDebug);
  EXPECT_EQ(guest.core().steps, 1u);
}

}  // namespace
}  // namespace dejavm::soft
