// Control, debug and model-specific registers, descriptor-table registers, ports, CPUID.
#include "engine/soft/flags.h"
#include "engine/soft/model_registers.h"
#include "system_fixture.h"

namespace dejavm::soft {
namespace {

class SystemInstructionTest : public SystemTest {
 protected:
  void write_msr(uint32_t index, uint64_t value) {
    guest.gpr(vm::rcx) = index;
    guest.gpr(vm::rax) = value & 0xffffffff;
    guest.gpr(vm::rdx) = value >> 32;
    execute({0x0f, 0x30});
  }
};

TEST_F(SystemInstructionTest, ProtectedModeByCr0) {
  real_mode();
  guest.gpr(vm::rax) = 1;
  execute({0x0f, 0x22, 0xc0});  // mov cr0, eax
  EXPECT_EQ(guest.cpu().cr0, 0x11u);
  EXPECT_TRUE(guest.core().protected_mode());
  EXPECT_EQ(guest.core().code_bits(), 16u);
}

TEST_F(SystemInstructionTest, InconsistentCr0Faults) {
  for (uint64_t value : {uint64_t{0x80000000}, uint64_t{0x20000001}}) {
    protected_mode();
    guest.gpr(vm::rax) = value;
    execute({0x0f, 0x22, 0xc0});
    EXPECT_EQ(vector(), kGeneralProtection);
  }
}

TEST_F(SystemInstructionTest, LongModeBecomesActiveWithPaging) {
  protected_mode();
  guest.cpu().cr3 = kTables;
  guest.cpu().cr4 |= 0x20;
  guest.cpu().efer = 0x100;
  guest.gpr(vm::rax) = 0x80000001;
  execute({0x0f, 0x22, 0xc0});
  EXPECT_EQ(guest.cpu().efer, 0x500u);
  EXPECT_EQ(guest.core().code_bits(), 32u);
  guest.gpr(vm::rax) = 1;
  execute({0x0f, 0x22, 0xc0});
  EXPECT_EQ(guest.cpu().efer, 0x100u);
}

TEST_F(SystemInstructionTest, LongModeNeedsPae) {
  protected_mode();
  guest.cpu().efer = 0x100;
  guest.gpr(vm::rax) = 0x80000001;
  execute({0x0f, 0x22, 0xc0});
  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_EQ(guest.cpu().efer, 0x100u);
}

TEST_F(SystemInstructionTest, SixtyFourBitCodeCannotStopPaging) {
  long_mode();
  guest.gpr(vm::rax) = 1;
  execute({0x0f, 0x22, 0xc0});
  EXPECT_EQ(vector(), kGeneralProtection);
}

TEST_F(SystemInstructionTest, Cr4KeepsPaeInLongModeAndKnowsItsBits) {
  long_mode();
  guest.gpr(vm::rax) = 0x600;
  execute({0x0f, 0x22, 0xe0});  // mov cr4, rax
  EXPECT_EQ(vector(), kGeneralProtection);
  guest.gpr(vm::rax) = 0x620 | 1u << 18;  // OSXSAVE: the model has no XSAVE
  execute({0x0f, 0x22, 0xe0});
  EXPECT_EQ(vector(), kGeneralProtection);
  guest.gpr(vm::rax) = 0x6a0;
  execute({0x0f, 0x22, 0xe0});
  EXPECT_EQ(vector(), -1);
  EXPECT_EQ(guest.cpu().cr4, 0x6a0u);
}

TEST_F(SystemInstructionTest, ReservedBitsOfPaePointersFault) {
  protected_mode();
  guest.cpu().cr3 = kData;
  guest.cpu().cr4 |= 0x20;
  guest.poke(kData, (kTables + 0x2000) | 1 | 2);  // R/W is reserved here
  guest.gpr(vm::rax) = 0x80000001;
  execute({0x0f, 0x22, 0xc0});
  EXPECT_EQ(vector(), kGeneralProtection);
}

TEST_F(SystemInstructionTest, Cr3ReservedBitsAndCr8Range) {
  long_mode();
  guest.gpr(vm::rax) = uint64_t{1} << 40;
  execute({0x0f, 0x22, 0xd8});  // mov cr3, rax
  EXPECT_EQ(vector(), kGeneralProtection);
  guest.gpr(vm::rax) = 15;
  execute({0x44, 0x0f, 0x22, 0xc0});  // mov cr8, rax
  EXPECT_EQ(guest.cpu().cr8, 15u);
  guest.gpr(vm::rax) = 16;
  execute({0x44, 0x0f, 0x22, 0xc0});
  EXPECT_EQ(vector(), kGeneralProtection);
}

TEST_F(SystemInstructionTest, ControlRegistersAreForKernels) {
  protected_mode();
  user_mode();
  execute({0x0f, 0x20, 0xc0});  // mov eax, cr0
  EXPECT_EQ(vector(), kGeneralProtection);
}

TEST_F(SystemInstructionTest, LmswSetsButNeverClearsProtection) {
  protected_mode();
  guest.gpr(vm::rax) = 0xe;
  execute({0x0f, 0x01, 0xf0});  // lmsw ax
  EXPECT_EQ(guest.cpu().cr0, 0x1fu);
  execute({0x0f, 0x06});  // clts
  EXPECT_EQ(guest.cpu().cr0, 0x17u);
  execute({0x0f, 0x01, 0xe3});  // smsw ebx
  EXPECT_EQ(guest.gpr(vm::rbx), 0x17u);
}

TEST_F(SystemInstructionTest, DebugRegistersHaveFixedBits) {
  protected_mode();
  guest.gpr(vm::rax) = 0xffffffff;
  execute({0x0f, 0x23, 0xf0});  // mov dr6, eax
  EXPECT_EQ(guest.cpu().dr6, 0xffffefffu);
  guest.gpr(vm::rax) = 0xffff0000;
  execute({0x0f, 0x23, 0xf8});  // mov dr7, eax
  EXPECT_EQ(guest.cpu().dr7, 0xffff0400u);
  guest.gpr(vm::rax) = 0x1234;
  execute({0x0f, 0x23, 0xd8});  // mov dr3, eax
  EXPECT_EQ(guest.cpu().dr[3], 0x1234u);
}

TEST_F(SystemInstructionTest, Dr5IsDr7UnlessDebugExtensionsTakeItAway) {
  protected_mode();
  execute({0x0f, 0x21, 0xe8});  // mov eax, dr5
  EXPECT_EQ(guest.gpr(vm::rax), 0x400u);
  guest.cpu().cr4 |= 8;
  execute({0x0f, 0x21, 0xe8});
  EXPECT_EQ(vector(), kInvalidOpcode);
}

TEST_F(SystemInstructionTest, GeneralDetectTraps) {
  protected_mode();
  guest.cpu().dr7 |= 1u << 13;
  execute({0x0f, 0x21, 0xc0});  // mov eax, dr0
  EXPECT_EQ(vector(), kDebug);
  EXPECT_EQ(stack(0, 4), kCode);
  EXPECT_NE(guest.cpu().dr6 & 1u << 13, 0u);
  EXPECT_EQ(guest.cpu().dr7 & 1u << 13, 0u);
}

TEST_F(SystemInstructionTest, StateMsrsAreKept) {
  long_mode();
  write_msr(0xc0000082, 0xffffffff81000000);
  EXPECT_EQ(guest.cpu().lstar, 0xffffffff81000000u);
  write_msr(0xc0000100, 0x12345678);
  EXPECT_EQ(segment(vm::fs).base, 0x12345678u);
  guest.gpr(vm::rcx) = 0xc0000082;
  execute({0x0f, 0x32});
  EXPECT_EQ(guest.gpr(vm::rax), 0x81000000u);
  EXPECT_EQ(guest.gpr(vm::rdx), 0xffffffffu);
}

TEST_F(SystemInstructionTest, BadMsrValuesFault) {
  constexpr struct {
    uint32_t index;
    uint64_t value;
  } kBad[] = {{0xc0000082, 0x800000000000}, {0x277, 0x02}, {0xc0000080, 0x2}, {0xc0000080, 0x401}};
  for (const auto& bad : kBad) {
    long_mode();
    write_msr(bad.index, bad.value);
    EXPECT_EQ(vector(), kGeneralProtection);
  }
}

TEST_F(SystemInstructionTest, OtherMsrsAreAskedFor) {
  long_mode();
  guest.gpr(vm::rcx) = 0x1b;
  guest.code({0x0f, 0x32});
  auto exit = guest.step();
  ASSERT_TRUE(std::holds_alternative<vm::MsrAccess>(exit));
  EXPECT_EQ(std::get<vm::MsrAccess>(exit).index, 0x1bu);
  guest.core().answer(0x1fee00900);
  guest.core().run(vm::RunMode::complete);
  EXPECT_EQ(guest.gpr(vm::rax), 0xfee00900u);
  EXPECT_EQ(guest.gpr(vm::rdx), 1u);
}

TEST_F(SystemInstructionTest, MsrThatDoesNotExistFaults) {
  long_mode();
  guest.code({0x0f, 0x32});
  ASSERT_TRUE(std::holds_alternative<vm::MsrAccess>(guest.step()));
  guest.core().answer_fault();
  guest.core().run(vm::RunMode::complete);
  EXPECT_EQ(vector(), kGeneralProtection);
}

TEST_F(SystemInstructionTest, TableRegistersIn16And32Bits) {
  protected_mode();
  guest.poke(kData, 0x123489abcdef0fff);
  execute({0x0f, 0x01, 0x15, 0, 0, 2, 0});  // lgdt [kData]
  EXPECT_EQ(guest.cpu().gdt.limit, 0x0fff);
  EXPECT_EQ(guest.cpu().gdt.base, 0x89abcdefu);
  execute({0x66, 0x0f, 0x01, 0x1d, 0, 0, 2, 0});  // lidt [kData] with a 16-bit operand
  EXPECT_EQ(guest.cpu().idt.base, 0xabcdefu);
  execute({0x0f, 0x01, 0x05, 0, 1, 2, 0});  // sgdt [kData + 0x100]
  EXPECT_EQ(guest.peek(kData + 0x100), 0x89abcdef0fffu);
}

TEST_F(SystemInstructionTest, TableRegistersIn64Bits) {
  long_mode();
  guest.poke(kData, 0xfff, 2);
  guest.poke(kData + 2, 0xffff800000001000);
  execute({0x0f, 0x01, 0x1c, 0x25, 0, 0, 2, 0});  // lidt [kData]
  EXPECT_EQ(guest.cpu().idt.base, 0xffff800000001000u);
  execute({0x0f, 0x01, 0x0c, 0x25, 0, 1, 2, 0});  // sidt [kData + 0x100]
  EXPECT_EQ(guest.peek(kData + 0x102), 0xffff800000001000u);
}

TEST_F(SystemInstructionTest, TaskRegisterBecomesBusy) {
  long_mode();
  describe(kFree, 0x0000890a00000067);
  describe(kFree + 8, 0xffff8000);
  guest.gpr(vm::rax) = kFree;
  execute({0x0f, 0x00, 0xd8});  // ltr ax
  EXPECT_EQ(guest.cpu().tr,
            (vm::Segment{.base = 0xffff8000000a0000, .limit = 0x67, .selector = kFree, .type = 11, .present = 1}));
  EXPECT_EQ(guest.peek(kGdt + kFree + 5, 1), 0x8bu);
  execute({0x0f, 0x00, 0xd8});  // it is busy now
  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_EQ(stack(0, 8), kFree);
}

TEST_F(SystemInstructionTest, LocalTableLoadsAndUnloads) {
  protected_mode();
  describe(kFree, 0x0000820200000fff);
  guest.gpr(vm::rax) = kFree;
  execute({0x0f, 0x00, 0xd0});  // lldt ax
  EXPECT_EQ(guest.cpu().ldt, (vm::Segment{.base = 0x20000, .limit = 0xfff, .selector = kFree, .type = 2, .present = 1}));
  execute({0x0f, 0x00, 0xc3});  // sldt ebx
  EXPECT_EQ(guest.gpr(vm::rbx), kFree);
  guest.gpr(vm::rax) = 0;
  execute({0x0f, 0x00, 0xd0});
  EXPECT_EQ(guest.cpu().ldt, (vm::Segment{.unusable = 1}));
}

TEST_F(SystemInstructionTest, StiHoldsInterruptsBackOnce) {
  protected_mode();
  execute({0xfb});
  EXPECT_EQ(guest.cpu().interrupt_shadow, 1);
  execute({0xfb});
  EXPECT_EQ(guest.cpu().interrupt_shadow, 0);
  EXPECT_NE(guest.cpu().rflags & kIf, 0u);
  execute({0xfa});
  EXPECT_EQ(guest.cpu().rflags & kIf, 0u);
}

TEST_F(SystemInstructionTest, InterruptFlagByPrivilege) {
  protected_mode();
  user_mode();
  execute({0xfa});
  EXPECT_EQ(vector(), kGeneralProtection);
  protected_mode();
  user_mode();
  guest.cpu().rflags |= kIopl | kIf;
  execute({0xfa});
  EXPECT_EQ(guest.cpu().rflags, 2 | kIopl);
}

TEST_F(SystemInstructionTest, HaltEndsTheRunBehindIt) {
  protected_mode();
  guest.code({0xf4});
  EXPECT_TRUE(std::holds_alternative<vm::Halted>(guest.step()));
  EXPECT_EQ(guest.cpu().rip, kCode + 1);
}

TEST_F(SystemInstructionTest, PortReadAndWrite) {
  real_mode();
  guest.gpr(vm::rdx) = 0x3f8;
  guest.gpr(vm::rax) = 0x1122334455667788;
  guest.code({0x66, 0xed});  // in eax, dx
  auto exit = guest.step();
  ASSERT_TRUE(std::holds_alternative<vm::DeviceAccess>(exit));
  EXPECT_EQ(std::get<vm::DeviceAccess>(exit).access, (vm::Access{.space = vm::Space::pio, .size = 4, .addr = 0x3f8}));
  guest.core().answer(0xffffffffcafebabe);
  guest.core().run(vm::RunMode::complete);
  EXPECT_EQ(guest.gpr(vm::rax), 0xcafebabeu);
  guest.code({0xe6, 0x80}, guest.cpu().linear_rip());  // out 0x80, al
  exit = guest.step();
  ASSERT_TRUE(std::holds_alternative<vm::DeviceAccess>(exit));
  EXPECT_EQ(
      std::get<vm::DeviceAccess>(exit).access,
      (vm::Access{.space = vm::Space::pio, .direction = vm::Direction::write, .size = 1, .addr = 0x80, .value = 0xbe}));
}

TEST_F(SystemInstructionTest, PortBitmapLetsUsersIn) {
  protected_mode();
  user_mode();
  guest.cpu().tr.limit = 0x2fff;
  guest.poke(kTssBase + 102, 0x68, 2);
  for (uint64_t i = 0; i < 0x80; ++i) guest.poke(kTssBase + 0x68 + i, 0xff, 1);
  guest.poke(kTssBase + 0x68 + 0x60 / 8, 0xfe, 1);
  guest.code({0xe4, 0x60});  // in al, 0x60
  EXPECT_TRUE(std::holds_alternative<vm::DeviceAccess>(guest.step()));
  guest.core().run(vm::RunMode::complete);
  execute({0xe5, 0x60});  // in eax, 0x60: the ports behind it are forbidden
  EXPECT_EQ(vector(), kGeneralProtection);
}

TEST_F(SystemInstructionTest, PortsBehindTheBitmapsEndAreForbidden) {
  protected_mode();
  guest.poke(kTssBase + 102, 0x68, 2);
  user_mode();
  execute({0xe4, 0x60});
  EXPECT_EQ(vector(), kGeneralProtection);
}

TEST_F(SystemInstructionTest, CpuidAnswersFromTheModel) {
  long_mode();
  guest.gpr(vm::rax) = 0xffffffff80000008;
  execute({0x0f, 0xa2});
  EXPECT_EQ(guest.gpr(vm::rax), 0x3028u);
  guest.gpr(vm::rax) = 0x12345;
  execute({0x0f, 0xa2});
  EXPECT_EQ(guest.gpr(vm::rax), 0u);
}

TEST(Cpuid, IndexedLeavesAndRangesOfOtherVendors) {
  vm::CpuModel model;
  model.cpuid = {{.function = 0, .eax = 4, .ebx = 0x756e6547},
                 {.function = 4, .index = 0, .indexed = true, .eax = 10},
                 {.function = 4, .index = 1, .indexed = true, .eax = 11},
                 {.function = 0x80000000, .eax = 0x80000008}};
  EXPECT_EQ(cpuid_answer(model, 4, 1).eax, 11u);
  EXPECT_EQ(cpuid_answer(model, 4, 2).eax, 0u);
  EXPECT_EQ(cpuid_answer(model, 9, 1).eax, 11u);
  EXPECT_EQ(cpuid_answer(model, 0x80000007, 0).eax, 0u);
  EXPECT_EQ(cpuid_answer(model, 0x80000009, 0).eax, 10u);
}

TEST_F(SystemInstructionTest, TimeStampIsThereWithoutItsFeature) {
  long_mode();
  execute({0x0f, 0x31});
  EXPECT_EQ(vector(), -1);
}

class OptionalInstructionTest : public SystemTest {
 protected:
  OptionalInstructionTest() : SystemTest(rich_model()) {}
};

TEST_F(OptionalInstructionTest, TimeStampCountsSteps) {
  long_mode();
  guest.core().steps = 0x123456789;
  execute({0x0f, 0x31});
  EXPECT_EQ(guest.gpr(vm::rax), 0x23456789u);
  EXPECT_EQ(guest.gpr(vm::rdx), 1u);
  guest.gpr(vm::rcx) = 77;
  execute({0x0f, 0x01, 0xf9});  // rdtscp
  EXPECT_EQ(guest.gpr(vm::rax), 0x2345678au);
  EXPECT_EQ(guest.gpr(vm::rcx), 0u);
}

TEST_F(OptionalInstructionTest, TimeStampCanBeDeniedToUsers) {
  long_mode();
  guest.cpu().cr4 |= 4;
  execute({0x0f, 0x31});
  EXPECT_EQ(vector(), -1);
  user_mode();
  execute({0x0f, 0x31});
  EXPECT_EQ(vector(), kGeneralProtection);
}

TEST_F(OptionalInstructionTest, RandomNumbersAreAFunctionOfTheStep) {
  long_mode();
  guest.core().steps = 1000;
  execute({0x48, 0x0f, 0xc7, 0xf0});  // rdrand rax
  execute({0x48, 0x0f, 0xc7, 0xf3});  // rdrand rbx
  EXPECT_NE(guest.gpr(vm::rax), guest.gpr(vm::rbx));
  EXPECT_EQ(guest.cpu().rflags, 2 | kCf);
  guest.core().steps = 1000;
  execute({0x48, 0x0f, 0xc7, 0xf3});
  EXPECT_EQ(guest.gpr(vm::rax), guest.gpr(vm::rbx));
}

TEST_F(OptionalInstructionTest, BasesNeedTheirControlBit) {
  long_mode();
  guest.gpr(vm::rax) = 0xffff800000000000;
  execute({0xf3, 0x48, 0x0f, 0xae, 0xd0});  // wrfsbase rax
  EXPECT_EQ(vector(), kInvalidOpcode);
  long_mode();
  guest.cpu().cr4 |= 1u << 16;
  guest.gpr(vm::rax) = 0xffff800000000000;
  execute({0xf3, 0x48, 0x0f, 0xae, 0xd0});
  EXPECT_EQ(segment(vm::fs).base, 0xffff800000000000u);
  execute({0xf3, 0x0f, 0xae, 0xc3});  // rdfsbase ebx
  EXPECT_EQ(guest.gpr(vm::rbx), 0u);
}

TEST_F(OptionalInstructionTest, UsersCannotSeeTablesUnderUmip) {
  protected_mode();
  user_mode();
  execute({0x0f, 0x01, 0xe0});  // smsw eax
  EXPECT_EQ(vector(), -1);
  guest.cpu().cr4 |= 1u << 11;
  execute({0x0f, 0x01, 0xe0});
  EXPECT_EQ(vector(), kGeneralProtection);
}

TEST_F(OptionalInstructionTest, StacSetsAlignmentCheck) {
  long_mode();
  execute({0x0f, 0x01, 0xcb});
  EXPECT_NE(guest.cpu().rflags & kAc, 0u);
  execute({0x0f, 0x01, 0xca});
  EXPECT_EQ(guest.cpu().rflags & kAc, 0u);
}

}  // namespace
}  // namespace dejavm::soft
