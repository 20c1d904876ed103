// run(step): what counts as one step.
#include "contract_fixture.h"

namespace dejavm::contract {
namespace {

GUEST(step_plain, 64, "nop; inc eax; jmp 1f; nop; 1: inc eax; hlt")
GUEST(step_rep_stos, 64, "mov edi, 0x20000; mov ecx, 4; rep stosb; hlt")
GUEST(step_mmio_write, 64, "mov [rbx], ecx; inc eax; hlt")
GUEST(step_mmio_read, 64, "mov ecx, [rbx]; inc eax; hlt")
GUEST(step_halt, 64, "nop; hlt; inc eax; hlt")
GUEST(step_pushf, 64, "pushfq; pop rax; hlt")
GUEST(step_int, 64, "int 0x30; inc eax; hlt")
GUEST(step_fault, 64, "mov eax, [0x300000]; hlt")
GUEST(step_system_call, 64,
      "mov ecx, 0xc0000081; xor eax, eax; mov edx, 0x00080008; wrmsr; mov ecx, 0xc0000082; mov eax, 0x9000; xor edx, edx; "
      "wrmsr;"
      "mov ecx, 0xc0000084; mov eax, 0x100; wrmsr; syscall; inc ebx; hlt")
GUEST(step_entry, 64, "inc edi; jmp rcx")
GUEST(step_handler, 64, "inc ebx; iretq")
GUEST(step_real, 16, "nop; inc ax; hlt")

CONTRACT_SUITE(Stepping);

/// Steps until HLT; device accesses are completed and their completion is the step. Returns the number of steps without HLT.
int steps_until_halt(TestMachine& machine) {
  constexpr int kTooMany = 1000;
  int steps = 0;
  while (steps < kTooMany) {
    vm::Exit exit = machine.run(vm::RunMode::step);
    while (is<vm::DeviceAccess>(exit)) exit = machine.run(vm::RunMode::complete);
    if (is<vm::Halted>(exit)) break;
    EXPECT_TRUE(is<vm::Stepped>(exit) || is<vm::Completed>(exit));
    ++steps;
  }
  return steps;
}

TEST_P(Stepping, OneInstructionAtATime) {
  machine().start(step_plain(), long_mode());
  EXPECT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  EXPECT_EQ(machine().state().rip, kCode + 1);
  EXPECT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  EXPECT_EQ(machine().state().rip, kCode + 3);
  EXPECT_EQ(machine().state().gpr[vm::rax], 1u);
}

TEST_P(Stepping, InRealMode) {
  machine().start(step_real(), real_mode());
  EXPECT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  EXPECT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  EXPECT_EQ(machine().state().gpr[vm::rax] & 0xffff, 1u);
}

TEST_P(Stepping, CountsInstructions) {
  machine().start(step_plain(), long_mode());
  EXPECT_EQ(steps_until_halt(machine()), 4);
}

TEST_P(Stepping, CountsIterationsOfARep) {
  if (!engine().steps_rep_by_element) GTEST_SKIP() << vcpu().capabilities().description;
  machine().start(step_rep_stos(), long_mode());
  EXPECT_EQ(steps_until_halt(machine()), 2 + 4);
}

TEST_P(Stepping, AnMmioWriteIsOneStep) {
  machine().start(step_mmio_write(), long_mode());
  EXPECT_EQ(steps_until_halt(machine()), 2);
}

TEST_P(Stepping, AnMmioReadIsOneStep) {
  machine().start(step_mmio_read(), long_mode());
  EXPECT_EQ(steps_until_halt(machine()), 2);
}

TEST_P(Stepping, OverHaltIsAHalt) {
  machine().start(step_halt(), long_mode());
  machine().run(vm::RunMode::step);
  EXPECT_TRUE(is<vm::Halted>(machine().run(vm::RunMode::step)));
  EXPECT_EQ(machine().state().rip, kCode + 2);
  EXPECT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  EXPECT_EQ(machine().state().gpr[vm::rax], 1u);
}

TEST_P(Stepping, TheTrapFlagIsNotSeen) {
  machine().start(step_pushf(), long_mode());
  machine().run(vm::RunMode::step);
  EXPECT_EQ(machine().state().rflags & 0x100, 0u);
  EXPECT_EQ(vcpu().quick_registers().rflags & 0x100, 0u);
  machine().run(vm::RunMode::step);
  EXPECT_EQ(machine().state().gpr[vm::rax] & 0x100, 0u);
}

TEST_P(Stepping, ASoftwareInterruptStepsIntoItsHandler) {
  if (!engine().runs_kernels) GTEST_SKIP() << vcpu().capabilities().description;
  machine().start(step_int(), long_mode());
  machine().handler(step_handler());
  EXPECT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  EXPECT_EQ(machine().state().rip, kHandler);
  EXPECT_EQ(machine().u64(kStack - 24) & 0x100, 0u);
  EXPECT_EQ(machine().u64(kHandler) & 0xffff, 0xc3ffu) << "the handler is as it was";
  EXPECT_EQ(steps_until_halt(machine()), 3);
}

TEST_P(Stepping, AFaultStepsIntoItsHandler) {
  machine().start(step_fault(), long_mode());
  machine().handler(step_handler());
  EXPECT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  EXPECT_EQ(machine().state().rip, kHandler);
  EXPECT_EQ(machine().u64(kStack - 24) & 0x100, 0u);
  EXPECT_EQ(machine().u64(kStack - 40), kCode);
}

TEST_P(Stepping, ASystemCallStepsIntoTheKernelWithoutTheTrapFlag) {
  if (!engine().runs_kernels) GTEST_SKIP() << vcpu().capabilities().description;
  vm::CpuState start = long_mode();
  start.efer |= 1;
  machine().start(step_system_call(), start);
  machine().handler(step_entry());
  for (int i = 0; i < 11; ++i) machine().run(vm::RunMode::step);
  ASSERT_EQ(machine().u64(machine().state().rip) & 0xffff, 0x050fu) << "SYSCALL is next";
  EXPECT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  EXPECT_EQ(machine().state().rip, kHandler);
  EXPECT_EQ(machine().state().gpr[vm::r11] & 0x100, 0u);
  EXPECT_EQ(steps_until_halt(machine()), 3);
}

TEST_P(Stepping, ThenRunningFreelyDoesNotStop) {
  machine().start(step_plain(), long_mode());
  machine().run(vm::RunMode::step);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
}

TEST_P(Stepping, GivesTheSameStateAsRunning) {
  machine().start(step_rep_stos(), long_mode());
  steps_until_halt(machine());
  vm::CpuState stepped = machine().state();
  machine().start(step_rep_stos(), long_mode());
  machine().run();
  EXPECT_EQ(vm::difference(stepped, machine().state()), "");
}

}  // namespace
}  // namespace dejavm::contract
