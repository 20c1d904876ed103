// Watchpoints on guest memory, where the engine has them, and the guest's own data breakpoints.
#include "contract_fixture.h"

namespace dejavm::contract {
namespace {

GUEST(watch_moves, 64, "mov edi, 0x20000; mov dword ptr [rdi], 5; mov eax, [rdi]; inc dword ptr [rdi]; nop; hlt")
GUEST(watch_rep, 64, "mov edi, 0x20000; mov ecx, 5; mov eax, 0x55; rep stosb; hlt")
GUEST(watch_mmio, 64, "mov eax, [rbx]; nop; hlt")
GUEST(watch_mmio_to_ram, 64, "mov rsi, rbx; mov edi, 0x20000; movsd; nop; hlt")
GUEST(watch_loop, 64, "mov edi, 0x20000; 1: inc dword ptr [rdi + 0x10]; jmp 1b")
GUEST(watch_nothing, 64, "nop; hlt")
GUEST(watch_fault, 64, "mov edi, 0x20000; mov dword ptr [rdi], 5; ud2")
GUEST(watch_real, 16, "mov ax, 0x2000; mov ds, ax; mov byte ptr ds:[4], 9; nop; hlt")
GUEST(watch_halt, 64, "hlt")

constexpr uint64_t kStore = kCode + 5, kLoad = kStore + 6, kIncrement = kLoad + 2;

class Watchpoints : public Contract {
 protected:
  void SetUp() override {
    Contract::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (vcpu().capabilities().max_watchpoints == 0) GTEST_SKIP() << GetParam() << " has no watchpoints";
  }
  void watch(uint64_t first, uint64_t length, bool on_read, bool on_write,
             vm::Watchpoint::By by = vm::Watchpoint::By::linear) {
    watchpoints_.push_back({by, first, length, on_read, on_write});
    ASSERT_TRUE(vcpu().set_watchpoints(watchpoints_).has_value());
  }
  void expect_hit(size_t watchpoint, vm::Direction direction, uint64_t next, vm::RunMode mode = vm::RunMode::free) {
    vm::Exit exit = machine().run(mode);
    ASSERT_TRUE(is<vm::WatchHit>(exit)) << "alternative " << exit.index();
    EXPECT_EQ(std::get<vm::WatchHit>(exit).watchpoint, watchpoint);
    EXPECT_EQ(std::get<vm::WatchHit>(exit).direction, direction);
    EXPECT_EQ(machine().state().rip, next);
    EXPECT_FALSE(vcpu().injection_pending().value_or(true));
  }

 private:
  std::vector<vm::Watchpoint> watchpoints_;
};
INSTANTIATE_TEST_SUITE_P(Engines, Watchpoints, testing::Values("kvm", "soft"),
                         [](const auto& engine) { return engine.param; });

TEST_P(Watchpoints, StopBehindWhatAccessed) {
  machine().start(watch_moves(), long_mode());
  watch(kData, 4, false, true);
  watch(kData + 2, 1, true, false);

  expect_hit(0, vm::Direction::write, kLoad);
  EXPECT_EQ(machine().u64(kData) & 0xffffffff, 5u);
  expect_hit(1, vm::Direction::read, kIncrement);
  expect_hit(0, vm::Direction::write, kIncrement + 2);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
}

TEST_P(Watchpoints, OfPhysicalAddresses) {
  machine().start(watch_moves(), long_mode());
  watch(kData + 3, 1, false, true, vm::Watchpoint::By::physical);
  expect_hit(0, vm::Direction::write, kLoad);
}

TEST_P(Watchpoints, InRealMode) {
  machine().start(watch_real(), real_mode());
  watch(kData + 4, 1, false, true);
  expect_hit(0, vm::Direction::write, kCode + 10);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
}

TEST_P(Watchpoints, TakeThePlaceOfAStep) {
  machine().start(watch_moves(), long_mode());
  watch(kData, 1, false, true);
  EXPECT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  expect_hit(0, vm::Direction::write, kLoad, vm::RunMode::step);
  EXPECT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
}

TEST_P(Watchpoints, StopBetweenIterations) {
  machine().start(watch_rep(), long_mode());
  watch(kData + 1, 1, false, true);
  expect_hit(0, vm::Direction::write, kCode + 15);
  EXPECT_EQ(machine().state().gpr[vm::rcx], 3u);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
  EXPECT_EQ(machine().u64(kData), 0x5555555555u);
}

TEST_P(Watchpoints, OnADeviceStopWhenItHasAnswered) {
  machine().start(watch_mmio(), long_mode());
  watch(kMmio, 1, true, false);
  EXPECT_TRUE(is<vm::DeviceAccess>(machine().run()));
  vcpu().reply(0x77);
  expect_hit(0, vm::Direction::read, kCode + 2, vm::RunMode::complete);
  EXPECT_EQ(machine().state().gpr[vm::rax], 0x77u);
}

TEST_P(Watchpoints, TakeThePlaceOfTheCompletion) {
  machine().start(watch_mmio_to_ram(), long_mode());
  watch(kData, 4, false, true);
  EXPECT_TRUE(is<vm::DeviceAccess>(machine().run()));
  vcpu().reply(0x77);
  expect_hit(0, vm::Direction::write, kCode + 9, vm::RunMode::complete);
  EXPECT_EQ(machine().u64(kData), 0x77u);
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
}

TEST_P(Watchpoints, OfAFrameStopAtTheHandler) {
  machine().start(watch_nothing(), long_mode());
  machine().handler(watch_halt());
  vm::CpuState state = machine().state();
  state.rflags |= vm::kRflagsIf;
  ASSERT_TRUE(vcpu().set_state(state).has_value());
  watch(state.gpr[vm::rsp] - 40, 40, false, true);
  ASSERT_TRUE(vcpu().interrupt(0x30).has_value());

  expect_hit(0, vm::Direction::write, kHandler);
}

TEST_P(Watchpoints, DoNotStopWhatOthersWrite) {
  machine().start(watch_nothing(), long_mode());
  watch(kData, 8, true, true);
  uint8_t bytes[8] = {1};
  ASSERT_TRUE(machine().memory.write({kData}, bytes, vm::Writer::device).has_value());
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
}

TEST_P(Watchpoints, InALoopAreHitEachTime) {
  machine().start(watch_loop(), long_mode());
  watch(kData + 0x10, 4, false, true);
  for (uint64_t turn = 1; turn <= 100; ++turn) {
    expect_hit(0, vm::Direction::write, kCode + 8);
    EXPECT_EQ(machine().u64(kData + 0x10), turn);
  }
}

TEST_P(Watchpoints, BesideALoopDoNotEndItsRun) {
  machine().start(watch_loop(), long_mode());
  watch(kData, 0x10, true, true);
  watch(kData + 0x14, 4, true, true);
  vcpu().set_step_limit(100'000);
  EXPECT_TRUE(is<vm::StepLimit>(machine().run()));
  EXPECT_EQ(machine().u64(kData + 0x10), 50'000u);
}

TEST_P(Watchpoints, RemovedOnesDoNotStop) {
  machine().start(watch_moves(), long_mode());
  watch(kData, 4, true, true);
  ASSERT_TRUE(vcpu().set_watchpoints({}).has_value());
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
}

TEST_P(Watchpoints, RangesThatAreNoneAreRefused) {
  for (vm::Watchpoint wrong : {vm::Watchpoint{.first = kData, .length = 0}, vm::Watchpoint{.first = UINT64_MAX, .length = 2},
                               vm::Watchpoint{.first = 2, .length = UINT64_MAX},
                               vm::Watchpoint{.by = vm::Watchpoint::By::physical, .first = uint64_t{1} << 52}}) {
    EXPECT_FALSE(vcpu().set_watchpoints({{wrong}}).has_value()) << wrong.first;
  }
  for (vm::Watchpoint right :
       {vm::Watchpoint{.first = 0, .length = UINT64_MAX}, vm::Watchpoint{.first = UINT64_MAX, .length = 1}}) {
    EXPECT_TRUE(vcpu().set_watchpoints({{right}}).has_value()) << right.first;
  }
}

CONTRACT_SUITE(NoWatchpoints);

TEST_P(NoWatchpoints, AreSaidToBeNone) {
  if (vcpu().capabilities().max_watchpoints != 0) GTEST_SKIP() << GetParam() << " has watchpoints";
  vm::Watchpoint one{.first = kData};
  EXPECT_FALSE(vcpu().set_watchpoints({{one}}).has_value());
  EXPECT_TRUE(vcpu().set_watchpoints({}).has_value());
}

CONTRACT_SUITE(GuestDebugRegisters);

TEST_P(GuestDebugRegisters, TrapBehindAWrite) {
  machine().start(watch_moves(), long_mode());
  machine().handler(watch_halt());
  vm::CpuState state = machine().state();
  state.dr[1] = kData;
  state.dr7 = 0x400 | 1u << 3 | 0b1101u << 20;  // G1, 4 bytes, writes
  ASSERT_TRUE(vcpu().set_state(state).has_value());

  EXPECT_TRUE(is<vm::Halted>(machine().run()));

  vm::CpuState after = machine().state();
  bool trapped = after.rip == kHandler + 1;
  if (GetParam() == "kvm" && !trapped) GTEST_SKIP() << "a KVM that interprets ring 0 does not look at data breakpoints";
  EXPECT_EQ(after.rip, kHandler + 1);
  EXPECT_EQ(after.dr6 & 0xf, 2u);
  EXPECT_EQ(machine().u64(after.gpr[vm::rsp]), kLoad);
}

}  // namespace
}  // namespace dejavm::contract
