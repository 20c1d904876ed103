// Execution breakpoints, where the engine has them.
#include "contract_fixture.h"

namespace dejavm::contract {
namespace {

GUEST(break_plain, 64, "nop; inc eax; nop; inc eax; hlt")
GUEST(break_loop, 64, "1: inc eax; jmp 1b")
GUEST(break_mmio, 64, "nop; mov ecx, [rbx]; mov [rbx], ecx; nop; hlt")
GUEST(break_halt, 64, "nop; hlt; nop; hlt")
GUEST(break_real, 16, "nop; inc ax; nop; hlt")

class Breakpoints : public Contract {
 protected:
  void SetUp() override {
    Contract::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (!vcpu().capabilities().hardware_breakpoints) GTEST_SKIP() << vcpu().capabilities().description;
  }
  void set(std::vector<vm::GuestVirt> addresses) { ASSERT_TRUE(vcpu().set_breakpoints(addresses).has_value()); }
  void expect_hit(uint64_t address) {
    vm::Exit exit = machine().run();
    ASSERT_TRUE(is<vm::BreakpointHit>(exit)) << "alternative " << exit.index();
    EXPECT_EQ(std::get<vm::BreakpointHit>(exit).at.value, address);
    EXPECT_EQ(machine().state().linear_rip(), address);
  }
};
INSTANTIATE_TEST_SUITE_P(Engines, Breakpoints, testing::Values("kvm", "soft"),
                         [](const auto& engine) { return engine.param; });

TEST_P(Breakpoints, StopBeforeTheInstruction) {
  machine().start(break_plain(), long_mode());
  set({{kCode + 3}});
  expect_hit(kCode + 3);
  EXPECT_EQ(machine().state().gpr[vm::rax], 1u);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
}

TEST_P(Breakpoints, InRealMode) {
  machine().start(break_real(), real_mode());
  set({{kCode + 2}});
  expect_hit(kCode + 2);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
}

TEST_P(Breakpoints, ARunThatStartsOnOneLeavesItFirst) {
  machine().start(break_plain(), long_mode());
  set({{kCode}, {kCode + 1}});
  expect_hit(kCode + 1);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
}

TEST_P(Breakpoints, HitAgainInALoop) {
  machine().start(break_loop(), long_mode());
  set({{kCode}});
  expect_hit(kCode);
  expect_hit(kCode);
  EXPECT_EQ(machine().state().gpr[vm::rax], 2u);
}

TEST_P(Breakpoints, OnDeviceAccessesStopOnceEach) {
  machine().start(break_mmio(), long_mode());
  set({{kCode + 1}, {kCode + 3}, {kCode + 5}});
  expect_hit(kCode + 1);
  EXPECT_TRUE(is<vm::DeviceAccess>(machine().run()));
  expect_hit(kCode + 3);
  EXPECT_TRUE(is<vm::DeviceAccess>(machine().run()));
  expect_hit(kCode + 5);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
}

TEST_P(Breakpoints, OnHaltTheHaltStillExits) {
  machine().start(break_halt(), long_mode());
  set({{kCode + 1}, {kCode + 2}});
  expect_hit(kCode + 1);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
}

TEST_P(Breakpoints, AreNotHonouredByStepping) {
  machine().start(break_plain(), long_mode());
  set({{kCode + 1}});
  EXPECT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  EXPECT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  EXPECT_EQ(machine().state().rip, kCode + 3);
}

TEST_P(Breakpoints, RemovedOnesDoNotStop) {
  machine().start(break_plain(), long_mode());
  set({{kCode + 1}});
  set({});
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
}

TEST_P(Breakpoints, MoreThanThereAreIsAnError) {
  std::vector<vm::GuestVirt> many(vcpu().capabilities().max_breakpoints + 1, vm::GuestVirt{kCode});
  EXPECT_FALSE(vcpu().set_breakpoints(many).has_value());
}

}  // namespace
}  // namespace dejavm::contract
