// Complete state: saved, restored elsewhere, the future is the same.
#include <random>

#include "contract_fixture.h"
#include "vm/cpu_fields.h"

namespace dejavm::contract {
namespace {

GUEST(state_work, 64,
      "mov edi, 0x20000; mov esi, 0x30000; mov ebp, 40; 1: mov eax, [rbx]; mov [rdi], eax; add rdi, 8; xor [rsi], eax;"
      "imul rax, rax, 0x41c64e6d; add r8, rax; push rax; pop r9; mov [rbx+8], r8d; mov ecx, 5; mov r10, rdi; rep stosb;"
      "mov rdi, r10; cmp r8, r9; setb r11b; dec ebp; jnz 1b; hlt")
GUEST(state_real_work, 16,
      "mov ax, 0x2000; mov es, ax; mov cx, 20; 1: add bx, cx; push bx; pop dx; mov es:[di], dx; add di, 2; loop 1b; hlt")
GUEST(state_nop, 64, "nop; hlt")

CONTRACT_SUITE(State);

/// Steps until HLT with completed accesses; what a device answers depends only on how many were answered before.
struct Stepper {
  TestMachine& machine;
  size_t accesses = 0;
  bool halted = false;

  void step() {
    vm::Exit exit = machine.run(vm::RunMode::step);
    while (is<vm::DeviceAccess>(exit)) {
      ++accesses;
      if (!std::get<vm::DeviceAccess>(exit).access.is_write()) machine.vcpu->reply(answer(accesses));
      exit = machine.run(vm::RunMode::complete);
    }
    halted = is<vm::Halted>(exit);
  }
};

struct Outcome {
  uint64_t cpu = 0;
  uint64_t ram = 0;
  bool operator==(const Outcome&) const = default;
};

Outcome outcome(TestMachine& machine) { return {vm::hash(machine.state()), machine.ram_digest()}; }

/// Runs to HLT; at the given steps everything moves to a fresh machine.
Outcome run_with_moves(std::unique_ptr<TestMachine> machine, std::function<std::unique_ptr<TestMachine>()> fresh,
                       ByteSpan code, const vm::CpuState& start, const std::vector<int>& moves) {
  machine->start(code, start);
  size_t accesses = 0;
  int step = 0;
  for (int move : moves) {
    Stepper stepper{*machine, accesses};
    for (; step < move && !stepper.halted; ++step) stepper.step();
    if (stepper.halted) break;
    accesses = stepper.accesses;
    vm::CpuState state = machine->state();
    auto next = fresh();
    next->load(0, {machine->memory.host(0), kRamSize});
    EXPECT_TRUE(next->vcpu->set_state(state).has_value());
    EXPECT_EQ(vm::difference(state, next->state()), "") << "after " << step << " steps";
    machine = std::move(next);
  }
  Stepper stepper{*machine, accesses};
  while (!stepper.halted) stepper.step();
  return outcome(*machine);
}

/// A state with a distinct value in each field that may have any.
vm::CpuState full_state() {
  vm::CpuState state = long_mode();
  for (unsigned i = 0; i < 16; ++i) state.gpr[i] = 0x0101010101010101 * (i + 1);
  state.rflags = 0x8d7;
  state.cr2 = 0x123456789000;
  state.cr8 = 5;
  state.dr = {0x1000, 0x2000, 0x3000, 0x4000};
  state.segment[vm::fs].base = 0x7fff12345000;
  state.segment[vm::gs].base = 0xffff800000001000;
  state.segment[vm::ds] = {.base = 0, .limit = 0xffffffff, .selector = 0, .g = 1, .unusable = 1};
  state.star = 0x0023001000000000;
  state.lstar = 0xffff800000002000;
  state.cstar = 0xffff800000003000;
  state.sfmask = 0x47700;
  state.kernel_gs_base = 0x7fff00001000;
  state.sysenter_cs = 0x10;
  state.sysenter_esp = 0x80004000;
  state.sysenter_eip = 0x80005000;
  state.pat = 0x0007010600070106;
  for (unsigned i = 0; i < 16; ++i) state.fpu.xmm[i].fill(static_cast<uint8_t>(0x20 + i));
  for (unsigned i = 0; i < 8; ++i) std::fill_n(state.fpu.st[i].begin(), 10, static_cast<uint8_t>(0x40 + i));
  state.fpu.fcw = 0x27f;
  state.fpu.fsw = 0x3800;
  state.fpu.ftw = 0xf0;
  state.fpu.mxcsr = 0x1fa0;
  return state;
}

TEST_P(State, StartsInTheResetState) { EXPECT_EQ(vm::difference(vm::reset_state(), machine().state()), ""); }

TEST_P(State, EveryFieldComesBack) {
  machine().start(state_nop(), full_state());
  EXPECT_EQ(vm::difference(full_state(), machine().state()), "");
}

TEST_P(State, EveryFieldSurvivesAnInstruction) {
  machine().start(state_nop(), full_state());
  ASSERT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  vm::CpuState expected = full_state();
  expected.rip = kCode + 1;
  EXPECT_EQ(vm::difference(expected, machine().state()), "");
}

TEST_P(State, TheShadowAndTheNmiMaskComeBack) {
  vm::CpuState state = long_mode();
  state.rflags |= vm::kRflagsIf;
  state.interrupt_shadow = 1;
  state.nmi_masked = 1;
  machine().start(state_nop(), state);
  EXPECT_EQ(vm::difference(state, machine().state()), "");
  EXPECT_FALSE(vcpu().can_interrupt().value_or(true));
}

TEST_P(State, RefusesAnImpossibleOne) {
  vm::CpuState state = long_mode();
  state.cr4 = 0;  // long mode without PAE
  EXPECT_FALSE(vcpu().set_state(state).has_value());
}

TEST_P(State, MovedAtRandomPointsTheGuestEndsTheSame) {
  auto fresh = [this] { return another_machine(); };
  Outcome straight = run_with_moves(fresh(), fresh, state_work(), long_mode(), {});
  std::mt19937 random(7);
  for (int round = 0; round < 8; ++round) {
    std::vector<int> moves{static_cast<int>(random() % 150), static_cast<int>(150 + random() % 200),
                           static_cast<int>(350 + random() % 400)};
    EXPECT_EQ(run_with_moves(fresh(), fresh, state_work(), long_mode(), moves), straight);
  }
}

TEST_P(State, MovedInRealModeTheGuestEndsTheSame) {
  auto fresh = [this] { return another_machine(); };
  Outcome straight = run_with_moves(fresh(), fresh, state_real_work(), real_mode(), {});
  EXPECT_EQ(run_with_moves(fresh(), fresh, state_real_work(), real_mode(), {1, 7, 40, 77}), straight);
}

TEST_P(State, SteppedAndFreeRunsEndTheSame) {
  auto fresh = [this] { return another_machine(); };
  Outcome stepped = run_with_moves(fresh(), fresh, state_work(), long_mode(), {});
  machine().start(state_work(), long_mode());
  accesses_until_halt(machine(), false);
  EXPECT_EQ(outcome(machine()), stepped);
}

TEST_P(State, TwoRunsAreEqualAtEveryAccess) {
  auto other = another_machine();
  machine().start(state_work(), long_mode());
  other->start(state_work(), long_mode());
  Stepper first{machine()}, second{*other};
  while (!first.halted) {
    first.step();
    second.step();
    ASSERT_EQ(vm::difference(machine().state(), other->state()), "");
  }
  EXPECT_TRUE(second.halted);
  EXPECT_EQ(outcome(machine()), outcome(*other));
}

}  // namespace
}  // namespace dejavm::contract
