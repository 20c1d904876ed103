// Injection: when an interrupt may enter, and what it pushes.
#include "contract_fixture.h"

namespace dejavm::contract {
namespace {

GUEST(irq_mmio_loop, 64, "sti; nop; 1: mov eax, [rbx]; jmp 1b")
GUEST(irq_handler, 64, "inc ecx; iretq")
GUEST(irq_halt, 64, "sti; hlt; inc eax; hlt")
GUEST(irq_sti_shadow, 64, "nop; sti; nop; hlt")
GUEST(irq_mov_ss_shadow, 64, "sti; mov eax, ss; mov ss, eax; nop; hlt")
GUEST(irq_masked, 64, "mov eax, [rbx]; hlt")
GUEST(irq_window, 64, "nop; nop; sti; inc eax; 1: jmp 1b")

CONTRACT_SUITE(Interrupts);

/// Up to the first device access with IF=1, completed.
void run_to_boundary(TestMachine& machine) {
  machine.start(irq_mmio_loop(), long_mode());
  machine.handler(irq_handler());
  machine.run();
  machine.run(vm::RunMode::complete);
}

TEST_P(Interrupts, EnterAtABoundaryAndReturn) {
  run_to_boundary(machine());
  ASSERT_TRUE(vcpu().can_interrupt().value_or(false));
  ASSERT_TRUE(vcpu().interrupt(0x20).has_value());
  EXPECT_TRUE(is<vm::DeviceAccess>(machine().run()));
  machine().run(vm::RunMode::complete);
  EXPECT_EQ(machine().state().gpr[vm::rcx], 1u);
}

TEST_P(Interrupts, PushTheFrameOfTheBoundary) {
  run_to_boundary(machine());
  vm::CpuState before = machine().state();
  ASSERT_TRUE(vcpu().interrupt(0x20).has_value());
  machine().run();
  EXPECT_EQ(machine().u64(kStack - 40), before.rip);
  EXPECT_EQ(machine().u64(kStack - 32), 8u);
  EXPECT_EQ(machine().u64(kStack - 24), before.rflags);
  EXPECT_EQ(machine().u64(kStack - 16), kStack);
  EXPECT_EQ(machine().u64(kStack - 8), 16u);
}

TEST_P(Interrupts, ArePendingUntilTheNextRun) {
  run_to_boundary(machine());
  EXPECT_FALSE(vcpu().injection_pending().value_or(true));
  ASSERT_TRUE(vcpu().interrupt(0x20).has_value());
  EXPECT_TRUE(vcpu().injection_pending().value_or(false));
  EXPECT_FALSE(vcpu().can_interrupt().value_or(true));
  machine().run();
  EXPECT_FALSE(vcpu().injection_pending().value_or(true));
}

TEST_P(Interrupts, AKickDoesNotStopBeforeTheFrameIsPushed) {
  run_to_boundary(machine());
  ASSERT_TRUE(vcpu().interrupt(0x20).has_value());
  vcpu().kick();
  machine().run();
  EXPECT_FALSE(vcpu().injection_pending().value_or(true));
}

TEST_P(Interrupts, WakeAHaltedGuest) {
  machine().start(irq_halt(), long_mode());
  machine().handler(irq_handler());
  ASSERT_TRUE(is<vm::Halted>(machine().run()));
  ASSERT_TRUE(vcpu().can_interrupt().value_or(false));
  ASSERT_TRUE(vcpu().interrupt(0x20).has_value());
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
  EXPECT_EQ(machine().state().gpr[vm::rax], 1u);
  EXPECT_EQ(machine().state().gpr[vm::rcx], 1u);
}

TEST_P(Interrupts, AreRefusedBehindSti) {
  machine().start(irq_sti_shadow(), long_mode());
  machine().run(vm::RunMode::step);
  EXPECT_FALSE(vcpu().interrupts_enabled());
  machine().run(vm::RunMode::step);
  EXPECT_TRUE(vcpu().interrupts_enabled());
  EXPECT_FALSE(vcpu().can_interrupt().value_or(true));
  EXPECT_EQ(machine().state().interrupt_shadow, 1);
  machine().run(vm::RunMode::step);
  EXPECT_TRUE(vcpu().can_interrupt().value_or(false));
  EXPECT_EQ(machine().state().interrupt_shadow, 0);
}

TEST_P(Interrupts, AreRefusedBehindMovSs) {
  machine().start(irq_mov_ss_shadow(), long_mode());
  machine().run(vm::RunMode::step);
  machine().run(vm::RunMode::step);
  EXPECT_TRUE(vcpu().can_interrupt().value_or(false));
  machine().run(vm::RunMode::step);
  EXPECT_FALSE(vcpu().can_interrupt().value_or(true));
  EXPECT_NE(machine().state().interrupt_shadow, 0);
}

TEST_P(Interrupts, AreRefusedWhileMasked) {
  machine().start(irq_masked(), long_mode());
  machine().run();
  machine().run(vm::RunMode::complete);
  EXPECT_FALSE(vcpu().can_interrupt().value_or(true));
}

TEST_P(Interrupts, AreRefusedInTheMiddleOfAnAccess) {
  machine().start(irq_mmio_loop(), long_mode());
  machine().run();
  EXPECT_FALSE(vcpu().can_interrupt().value_or(true));
}

TEST_P(Interrupts, NmisEnterWhileMasked) {
  machine().start(irq_masked(), long_mode());
  machine().handler(irq_handler());
  machine().run();
  machine().run(vm::RunMode::complete);
  ASSERT_TRUE(vcpu().nmi().has_value());
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
  EXPECT_EQ(machine().state().gpr[vm::rcx], 1u);
}

TEST_P(Interrupts, AnInterruptStepsIntoItsHandler) {
  run_to_boundary(machine());
  ASSERT_TRUE(vcpu().interrupt(0x20).has_value());
  EXPECT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  EXPECT_FALSE(vcpu().injection_pending().value_or(true));
  EXPECT_EQ(machine().u64(kStack - 24) & 0x100, 0u);
}

TEST_P(Interrupts, TheRequestedWindowOpensWhereAnInterruptMayEnter) {
  machine().start(irq_window(), long_mode());
  vcpu().request_window(true);
  EXPECT_TRUE(is<vm::WindowOpen>(machine().run()));
  EXPECT_TRUE(vcpu().can_interrupt().value_or(false));
  EXPECT_EQ(machine().state().gpr[vm::rax], 1u);
}

/// As after an exit between STI and the next instruction. Where the KVM loses the shadow, the run may end with a kick.
TEST_P(Interrupts, NothingEntersBehindStiWhereARunStartsThere) {
  if (!vcpu().capabilities().exact_window) GTEST_SKIP() << "the window of this engine is not exact";
  vm::CpuState state = long_mode();
  constexpr uint64_t kBehindSti = 3;
  state.rip += kBehindSti;
  state.rflags |= vm::kRflagsIf;
  state.interrupt_shadow = 1;
  machine().start(irq_window(), state);
  vcpu().request_window(true);
  auto exit = machine().run();
  EXPECT_TRUE(is<vm::WindowOpen>(exit) || is<vm::Interrupted>(exit)) << "alternative " << exit.index();
  EXPECT_TRUE(vcpu().can_interrupt().value_or(false));
  EXPECT_EQ(machine().state().gpr[vm::rax], 1u);
}

}  // namespace
}  // namespace dejavm::contract
