// run(complete): the way from a device access to a consistent point.
#include "contract_fixture.h"

namespace dejavm::contract {
namespace {

GUEST(complete_read, 64, "mov eax, [rbx]; inc eax; hlt")
GUEST(complete_write, 64, "mov [rbx], ecx; inc eax; hlt")
GUEST(complete_rmw, 64, "inc dword ptr [rbx]; inc eax; hlt")
GUEST(complete_out, 64, "out 0x80, al; inc eax; hlt")
GUEST(complete_rep_ins, 64, "mov edi, 0x20000; mov dx, 0x300; mov ecx, 3; rep insb; inc eax; hlt")
GUEST(complete_real_read, 16, "mov ax, 0xd000; mov ds, ax; mov al, ds:[4]; hlt")
GUEST(complete_halts, 64, "hlt; inc eax; hlt")
GUEST(complete_triple_fault, 64, "lidt [rip+1f]; mov edi, 0x80000000; mov eax, [rdi]; 1: .word 0; .quad 0")

CONTRACT_SUITE(Completion);

TEST_P(Completion, AReadAppliesItsReplyAndStopsBehindTheInstruction) {
  machine().start(complete_read(), long_mode());
  ASSERT_TRUE(is<vm::DeviceAccess>(machine().run()));
  vcpu().reply(41);
  EXPECT_TRUE(is<vm::Completed>(machine().run(vm::RunMode::complete)));
  vm::CpuState state = machine().state();
  EXPECT_EQ(state.gpr[vm::rax], 41u);
  EXPECT_EQ(state.rip, kCode + 2);
}

TEST_P(Completion, AWriteStopsBehindTheInstruction) {
  machine().start(complete_write(), long_mode());
  ASSERT_TRUE(is<vm::DeviceAccess>(machine().run()));
  EXPECT_TRUE(is<vm::Completed>(machine().run(vm::RunMode::complete)));
  EXPECT_EQ(machine().state().rip, kCode + 2);
}

TEST_P(Completion, AnOutStopsBehindTheInstruction) {
  machine().start(complete_out(), long_mode());
  ASSERT_TRUE(is<vm::DeviceAccess>(machine().run()));
  EXPECT_TRUE(is<vm::Completed>(machine().run(vm::RunMode::complete)));
  EXPECT_EQ(machine().state().rip, kCode + 2);
}

TEST_P(Completion, AReadModifyWriteExitsForItsWriteFirst) {
  machine().start(complete_rmw(), long_mode());
  ASSERT_TRUE(is<vm::DeviceAccess>(machine().run()));
  vcpu().reply(7);
  vm::Exit second = machine().run(vm::RunMode::complete);
  ASSERT_TRUE(is<vm::DeviceAccess>(second));
  EXPECT_EQ(std::get<vm::DeviceAccess>(second).access, write_of(kMmio, 4, 8));
  EXPECT_EQ(std::get<vm::DeviceAccess>(second).instruction, vm::GuestVirt{kCode});
  EXPECT_TRUE(is<vm::Completed>(machine().run(vm::RunMode::complete)));
}

TEST_P(Completion, WithNothingPendingItIsDoneAtOnce) {
  machine().start(complete_read(), long_mode());
  EXPECT_TRUE(is<vm::Completed>(machine().run(vm::RunMode::complete)));
  EXPECT_EQ(machine().state().rip, kCode);
}

TEST_P(Completion, TheNextRunGoesOn) {
  machine().start(complete_read(), long_mode());
  ASSERT_TRUE(is<vm::DeviceAccess>(machine().run()));
  vcpu().reply(41);
  machine().run(vm::RunMode::complete);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
  EXPECT_EQ(machine().state().gpr[vm::rax], 42u);
}

TEST_P(Completion, AReadKnowsItsInstruction) {
  machine().start(complete_read(), long_mode());
  vm::Exit exit = machine().run();
  EXPECT_EQ(std::get<vm::DeviceAccess>(exit).instruction, vm::GuestVirt{kCode});
}

TEST_P(Completion, AReadInRealModeKnowsItsLinearAddress) {
  vm::CpuState start = real_mode();
  start.segment[vm::cs].base = kCode;
  start.segment[vm::cs].selector = kCode >> 4;
  start.rip = 0;
  machine().start(complete_real_read(), start);
  vm::Exit exit = machine().run();
  ASSERT_TRUE(is<vm::DeviceAccess>(exit));
  EXPECT_EQ(std::get<vm::DeviceAccess>(exit).instruction, vm::GuestVirt{kCode + 5});
}

TEST_P(Completion, HaltStandsBehindTheInstructionAndGoesOn) {
  machine().start(complete_halts(), long_mode());
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
  EXPECT_EQ(machine().state().rip, kCode + 1);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
  EXPECT_EQ(machine().state().gpr[vm::rax], 1u);
}

TEST_P(Completion, QuickRegistersAreThoseOfTheExit) {
  machine().start(complete_halts(), long_mode());
  machine().run();
  machine().run();
  vm::CpuState state = machine().state();
  EXPECT_EQ(vcpu().quick_registers().gpr, state.gpr);
  EXPECT_EQ(vcpu().quick_registers().rip, state.rip);
  EXPECT_EQ(vcpu().quick_registers().rflags, state.rflags);
}

TEST_P(Completion, ATripleFaultIsAShutdown) {
  machine().start(complete_triple_fault(), long_mode());
  EXPECT_TRUE(is<vm::Shutdown>(machine().run()));
}

TEST_P(Completion, AfterAShutdownANewStateRuns) {
  machine().start(complete_triple_fault(), long_mode());
  machine().run();
  machine().start(complete_halts(), long_mode());
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
}

}  // namespace
}  // namespace dejavm::contract
