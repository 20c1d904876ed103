// Model-specific registers and CPUID, as the CPU model says.
#include <algorithm>

#include "contract_fixture.h"

namespace dejavm::contract {
namespace {

GUEST(msr_read, 64, "mov ecx, 0x8b; rdmsr; hlt")
GUEST(msr_write, 64, "mov ecx, 0x8b; mov eax, 0x11; mov edx, 0x22; wrmsr; inc esi; hlt")
GUEST(msr_apic_read, 64, "mov ecx, 0x8c0; rdmsr; hlt")
GUEST(msr_apic_write, 64, "mov ecx, 0x802; xor eax, eax; xor edx, edx; wrmsr; hlt")
GUEST(msr_state, 64, "mov ecx, 0xc0000082; mov eax, 0x1000; xor edx, edx; wrmsr; rdmsr; mov esi, eax; hlt")
GUEST(msr_gp_handler, 64, "mov edi, 0x6f; pop rax; hlt")
GUEST(msr_cpuid, 64, "mov eax, esi; xor ecx, ecx; cpuid; hlt")

CONTRACT_SUITE(Msr);

TEST_P(Msr, AReadExitsAndGetsTheReply) {
  machine().start(msr_read(), long_mode());
  vm::Exit exit = machine().run();
  ASSERT_TRUE(is<vm::MsrAccess>(exit));
  EXPECT_EQ(std::get<vm::MsrAccess>(exit).index, 0x8bu);
  EXPECT_FALSE(std::get<vm::MsrAccess>(exit).write);
  vcpu().reply(0x1111222233334444);
  EXPECT_TRUE(is<vm::Completed>(machine().run(vm::RunMode::complete)));
  vm::CpuState state = machine().state();
  EXPECT_EQ(state.gpr[vm::rax], 0x33334444u);
  EXPECT_EQ(state.gpr[vm::rdx], 0x11112222u);
}

TEST_P(Msr, AWriteExitsWithItsValue) {
  machine().start(msr_write(), long_mode());
  vm::Exit exit = machine().run();
  ASSERT_TRUE(is<vm::MsrAccess>(exit));
  EXPECT_TRUE(std::get<vm::MsrAccess>(exit).write);
  EXPECT_EQ(std::get<vm::MsrAccess>(exit).value, 0x2200000011u);
  vcpu().reply(0);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
  EXPECT_EQ(machine().state().gpr[vm::rsi], 1u);
}

TEST_P(Msr, AFaultReplyIsAGeneralProtectionFault) {
  machine().start(msr_read(), long_mode());
  machine().handler(msr_gp_handler());
  ASSERT_TRUE(is<vm::MsrAccess>(machine().run()));
  vcpu().reply_fault();
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
  EXPECT_EQ(machine().state().gpr[vm::rdi], 0x6fu);
  EXPECT_EQ(machine().u64(kStack - 40), kCode + 5);
}

TEST_P(Msr, AReadOfTheX2ApicRangeExits) {
  machine().start(msr_apic_read(), long_mode());
  vm::Exit exit = machine().run();
  ASSERT_TRUE(is<vm::MsrAccess>(exit));
  EXPECT_EQ(std::get<vm::MsrAccess>(exit).index, 0x8c0u);
  vcpu().reply(0x1234);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
  EXPECT_EQ(machine().state().gpr[vm::rax], 0x1234u);
}

TEST_P(Msr, AWriteToTheX2ApicRangeIsAGeneralProtectionFault) {
  machine().start(msr_apic_write(), long_mode());
  machine().handler(msr_gp_handler());
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
  EXPECT_EQ(machine().state().gpr[vm::rdi], 0x6fu);
}

TEST_P(Msr, ThoseOfTheStateDoNotExit) {
  machine().start(msr_state(), long_mode());
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
  EXPECT_EQ(machine().state().lstar, 0x1000u);
  EXPECT_EQ(machine().state().gpr[vm::rsi], 0x1000u);
}

TEST_P(Msr, CpuidIsTheEffectiveModels) {
  for (const vm::CpuidLeaf& leaf : vm::dejavm64_v1().cpuid) {
    auto seen = std::find_if(engine().model.cpuid.begin(), engine().model.cpuid.end(),
                             [&](const auto& other) { return other.function == leaf.function; });
    ASSERT_NE(seen, engine().model.cpuid.end());
    SCOPED_TRACE(leaf.function);
    vm::CpuState start = long_mode();
    start.gpr[vm::rsi] = leaf.function;
    machine().start(msr_cpuid(), start);
    ASSERT_TRUE(is<vm::Halted>(machine().run()));
    vm::CpuState state = machine().state();
    EXPECT_EQ(state.gpr[vm::rax], seen->eax);
    EXPECT_EQ(state.gpr[vm::rbx], seen->ebx);
    EXPECT_EQ(state.gpr[vm::rcx], seen->ecx);
    EXPECT_EQ(state.gpr[vm::rdx], seen->edx);
  }
}

}  // namespace
}  // namespace dejavm::contract
