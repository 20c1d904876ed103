// run_out(): the guest is stopped where it leaves a function or user code, and nothing of how stays behind.
#include "base/bytes.h"
#include "contract_fixture.h"

namespace dejavm::contract {
namespace {

GUEST(way_out_nested, 64,
      "call 1f; nop; hlt;"
      "1: push rbx; call 2f; inc edx; ret;"
      "2: push rbp; mov rbp, rsp; sub rsp, 32; mov ecx, 5; 3: dec ecx; jnz 3b; leave; ret 8")
GUEST(way_out_calling, 64, "mov ecx, 1000; 1: call 2f; dec ecx; jnz 1b; hlt; 2: nop; ret")
GUEST(way_out_reading, 64, "call 1f; nop; hlt; 1: mov ecx, 3; mov eax, [rbx]; ret")
GUEST(way_out_recursive, 64, "mov ecx, 4; call 1f; nop; hlt; 1: dec ecx; jz 2f; call 1b; 2: ret")
GUEST(way_out_endless, 64, "call 1f; nop; hlt; 1: inc eax; cmp eax, ebx; jne 1b; ret")
GUEST(way_out_system_call, 64, "mov ecx, 1000; 1: dec ecx; jnz 1b; syscall; nop")
GUEST(way_out_fault, 64, "mov ecx, 1000; 1: dec ecx; jnz 1b; ud2")
GUEST(way_out_kernel, 64, "inc edx; hlt")

constexpr uint64_t kKernelStack = 0x6000, kTables = 0x30000, kTss = 0x36000;

class WayOut : public Contract {
 protected:
  void SetUp() override {
    Contract::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (vcpu().capabilities().exact_steps) GTEST_SKIP() << "this engine counts steps: it wants no way out";
  }
  int started = 0;
  void steps(int count) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  }
  std::optional<vm::Exit> run_out(size_t level, bool of_loop = false) {
    auto exit = vcpu().run_out({of_loop, level}, [this] { ++started; });
    EXPECT_TRUE(exit.has_value()) << exit.error().what;
    return exit ? *exit : std::nullopt;
  }
  /// As a machine that was stopped there by a breakpoint. The resume flag is the breakpoint's.
  void expect_as_broken(ByteSpan code, const vm::CpuState& start, uint64_t rip) {
    auto other = another_machine();
    prepare(*other, code, start);
    const vm::GuestVirt at[] = {{rip}};
    ASSERT_TRUE(other->vcpu->set_breakpoints(at).has_value());
    ASSERT_TRUE(is<vm::BreakpointHit>(other->run()));
    constexpr uint64_t kResumeFlag = 1u << 16;
    vm::CpuState expected = other->state(), found = machine().state();
    expected.rflags &= ~kResumeFlag;
    EXPECT_EQ(vm::difference(expected, found), "");
    EXPECT_EQ(machine().ram_digest(), other->ram_digest());
  }
  void expect_out_at(const std::optional<vm::Exit>& exit, uint64_t rip) {
    ASSERT_TRUE(exit.has_value());
    ASSERT_TRUE(is<vm::BreakpointHit>(*exit)) << "alternative " << exit->index();
    EXPECT_EQ(std::get<vm::BreakpointHit>(*exit).at.value, rip);
    EXPECT_EQ(machine().state().rip, rip);
  }
  /// Ring 3 at kCode in pages of its own; the kernel's handlers are at kHandler, its stack at kKernelStack.
  static vm::CpuState user_mode() {
    vm::CpuState state = long_mode();
    for (vm::SegmentName name : {vm::cs, vm::ss}) {
      state.segment[name].selector = name == vm::cs ? 0x2b : 0x23;
      state.segment[name].dpl = 3;
    }
    state.gpr[vm::rdx] = 0;
    state.cr3 = kTables;
    state.tr.base = kTss;
    state.tr.limit = 0x67;
    state.efer |= 1;  // SYSCALL
    state.star = uint64_t{0x1b0008} << 32;
    state.lstar = kHandler;
    return state;
  }
  static void prepare(TestMachine& machine, ByteSpan code, const vm::CpuState& start) {
    machine.start(code, start);
    constexpr uint64_t kUser = 0x67, kSupervisor = 0x63;  // accessed and dirty: a HLT has been fetched, a breakpoint not
    auto word = [&](uint64_t at, uint64_t value) {
      uint8_t bytes[8];
      store_le(bytes, value);
      machine.load(at, bytes);
    };
    for (uint64_t table : {kTables, kTables + 0x1000, kTables + 0x2000}) word(table, (table + 0x1000) | kUser);
    for (uint64_t page = 0; page < kRamSize / vm::kPageSize; ++page) {
      bool user = page == kCode / vm::kPageSize || page == kStack / vm::kPageSize;
      word(kTables + 0x3000 + page * 8, page * vm::kPageSize | (user ? kUser : kSupervisor));
    }
    word(kTss + 4, kKernelStack);
    machine.handler(way_out_kernel());
  }
};
INSTANTIATE_TEST_SUITE_P(Engines, WayOut, testing::Values("kvm", "soft"), [](const auto& engine) { return engine.param; });

TEST_P(WayOut, OfAFunctionIsWhereItsCallerGoesOn) {
  prepare(machine(), way_out_nested(), long_mode());
  steps(8);  // in the inner function's loop
  const uint64_t after_inner = kCode + 0xd;
  expect_out_at(run_out(1), after_inner);
  EXPECT_EQ(started, 1);
  expect_as_broken(way_out_nested(), long_mode(), after_inner);
}

TEST_P(WayOut, OfARecursiveFunctionIsAnyOfItsReturns) {
  prepare(machine(), way_out_recursive(), long_mode());
  steps(4);  // in the first call of the function
  expect_out_at(run_out(1), kCode + 10);
  expect_as_broken(way_out_recursive(), long_mode(), kCode + 10);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
}

TEST_P(WayOut, OfALoopIsBehindIt) {
  prepare(machine(), way_out_nested(), long_mode());
  EXPECT_FALSE(run_out(0, true).has_value());
  steps(8);
  const uint64_t behind = kCode + 0x21;
  EXPECT_FALSE(run_out(1, true).has_value());
  expect_out_at(run_out(0, true), behind);
  expect_as_broken(way_out_nested(), long_mode(), behind);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
}

TEST_P(WayOut, OfACallersLoopIsBehindIt) {
  prepare(machine(), way_out_calling(), long_mode());
  steps(2);  // in the function that the loop calls
  const uint64_t behind = kCode + 14;
  EXPECT_FALSE(run_out(0, true).has_value());
  expect_out_at(run_out(1, true), behind);
  expect_as_broken(way_out_calling(), long_mode(), behind);
}

TEST_P(WayOut, IsNoneWhereNoFunctionRuns) {
  prepare(machine(), way_out_nested(), long_mode());
  EXPECT_FALSE(run_out(1).has_value());
  steps(8);
  EXPECT_FALSE(run_out(3).has_value());
  EXPECT_EQ(started, 0);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
}

TEST_P(WayOut, AnExitOnTheWayLeavesNothingBehind) {
  prepare(machine(), way_out_reading(), long_mode());
  steps(1);
  auto exit = run_out(1);
  ASSERT_TRUE(exit.has_value());
  EXPECT_TRUE(is<vm::DeviceAccess>(*exit));
  EXPECT_EQ(*machine().memory.host(kCode + 5), 0x90);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
  EXPECT_EQ(machine().state().rip, kCode + 7);
}

TEST_P(WayOut, AKickOnTheWayLeavesNothingBehind) {
  prepare(machine(), way_out_endless(), long_mode());
  steps(1);
  vcpu().kick();
  auto exit = run_out(1);
  ASSERT_TRUE(exit.has_value());
  EXPECT_TRUE(is<vm::Interrupted>(*exit));
  EXPECT_EQ(*machine().memory.host(kCode + 5), 0x90);
}

TEST_P(WayOut, OfUserCodeIsItsSystemCall) {
  prepare(machine(), way_out_system_call(), user_mode());
  expect_out_at(run_out(1), kHandler);
  EXPECT_EQ(machine().state().segment[vm::cs].dpl, 0);
  expect_as_broken(way_out_system_call(), user_mode(), kHandler);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
  EXPECT_EQ(machine().state().gpr[vm::rdx], 1u);
}

TEST_P(WayOut, OfUserCodeIsItsException) {
  prepare(machine(), way_out_fault(), user_mode());
  expect_out_at(run_out(1), kHandler);
  expect_as_broken(way_out_fault(), user_mode(), kHandler);
}

}  // namespace
}  // namespace dejavm::contract
