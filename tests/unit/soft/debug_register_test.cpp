// The guest's own debug registers on data and ports, and the debug trap of a task switch.
#include "engine/soft/flags.h"
#include "watch_fixture.h"

namespace dejavm::soft {
namespace {

constexpr unsigned kOnWrite = 1, kOnPort = 2, kOnAccess = 3;
constexpr unsigned kSize1 = 0, kSize2 = 1, kSize8 = 2, kSize4 = 3;
constexpr uint64_t kSingleStep = 1u << 14, kTaskSwitch = 1u << 15;

class DebugRegisters : public WatchedGuest {
 protected:
  void set(unsigned number, uint64_t address, unsigned kind, unsigned size) {
    change_state([&](vm::CpuState& state) {
      state.dr[number] = address;
      state.dr7 |= uint64_t{2} << 2 * number | uint64_t{size << 2 | kind} << (16 + 4 * number);
    });
  }
  /// A step. The bits of DR6 that say why, when it ended in the handler of the debug exception; else 0.
  uint64_t trapped_by(vm::RunMode mode = vm::RunMode::step) {
    guest.core().run(mode);
    return vector() == kDebug ? guest.cpu().dr6 & 0xe00f : 0;
  }
};
INSTANTIATE_TEST_SUITE_P(Soft, DebugRegisters, testing::Bool(),
                         [](const auto& translated) { return translated.param ? "Translated" : "Interpreted"; });

constexpr std::initializer_list<int> kStore = {0x89, 0x04, 0x25, 0, 0, 2, 0, 0xf4};  // mov [kData], eax; hlt
constexpr std::initializer_list<int> kLoad = {0x8b, 0x04, 0x25, 0, 0, 2, 0, 0xf4};   // mov eax, [kData]; hlt

TEST_P(DebugRegisters, AWriteTrapsBehindItsInstruction) {
  guest.code(kStore);
  guest.gpr(vm::rax) = 5;
  set(2, kData, kOnWrite, kSize4);

  EXPECT_EQ(trapped_by(), 4u);
  EXPECT_EQ(guest.peek(kData, 4), 5u);
  EXPECT_EQ(stack(0, 8), kCode + 7);
  EXPECT_EQ(stack(2, 8) & kRf, 0u);
}

TEST_P(DebugRegisters, InAFreeRunToo) {
  guest.code({0x90, 0x90, 0x89, 0x04, 0x25, 0, 0, 2, 0, 0xf4});
  guest.code({0xf4}, kHandlers + 16 * kDebug);
  set(0, kData, kOnWrite, kSize4);

  EXPECT_TRUE(runs_to_halt());
  EXPECT_EQ(guest.cpu().rip, kHandlers + 16 * kDebug + 1);
  EXPECT_EQ(stack(0, 8), kCode + 9);
}

TEST_P(DebugRegisters, OnlyAccessBreakpointsTrapReads) {
  guest.code(kLoad);
  set(0, kData, kOnWrite, kSize4);
  set(1, kData, kOnAccess, kSize4);
  EXPECT_EQ(trapped_by(), 2u);
}

TEST_P(DebugRegisters, AccessBreakpointsTrapWrites) {
  guest.code(kStore);
  set(3, kData, kOnAccess, kSize1);
  EXPECT_EQ(trapped_by(), 8u);
}

TEST_P(DebugRegisters, LengthsAreAlignedRanges) {
  guest.code({0x88, 0x06, 0xf4});  // mov [rsi], al
  guest.gpr(vm::rsi) = kData + 7;
  set(0, kData + 7, kOnWrite, kSize1);
  set(1, kData + 7, kOnWrite, kSize2);  // 6 and 7
  set(2, kData + 3, kOnWrite, kSize4);  // 0 to 3
  set(3, kData + 3, kOnWrite, kSize8);  // 0 to 7
  EXPECT_EQ(trapped_by(), 0b1011u);
}

TEST_P(DebugRegisters, BitsOfEarlierBreakpointsGo) {
  guest.code(kStore);
  set(1, kData, kOnWrite, kSize4);
  change_state([](vm::CpuState& state) { state.dr6 |= 1; });
  EXPECT_EQ(trapped_by(), 2u);
}

TEST_P(DebugRegisters, DisabledOnesDoNotTrap) {
  guest.code(kStore);
  set(0, kData, kOnWrite, kSize4);
  change_state([](vm::CpuState& state) { state.dr7 &= ~uint64_t{0xff}; });
  EXPECT_TRUE(runs_to_halt());
}

TEST_P(DebugRegisters, TheGuestSetsThem) {
  // mov dr1, rbx; mov dr7, rcx; mov [kData], eax; hlt
  guest.code({0x0f, 0x23, 0xcb, 0x0f, 0x23, 0xf9, 0x89, 0x04, 0x25, 0, 0, 2, 0, 0xf4});
  guest.code({0xf4}, kHandlers + 16 * kDebug);
  guest.poke(kData, 0);
  guest.gpr(vm::rbx) = kData;
  guest.gpr(vm::rcx) = 0x400 | 1u << 2 | kOnWrite << 20 | kSize4 << 22;

  EXPECT_TRUE(runs_to_halt());
  EXPECT_EQ(stack(0, 8), kCode + 13);
  EXPECT_EQ(guest.cpu().dr6 & 15, 2u);
}

TEST_P(DebugRegisters, ARepeatedInstructionTrapsBehindTheIteration) {
  guest.code({0xf3, 0xaa, 0xf4});               // rep stosb; hlt
  guest.code({0xf4}, kHandlers + 16 * kDebug);  // hlt
  guest.gpr(vm::rcx) = 5;
  guest.gpr(vm::rdi) = kData;
  set(0, kData + 1, kOnWrite, kSize1);

  EXPECT_TRUE(runs_to_halt());
  EXPECT_EQ(stack(0, 8), kCode);
  EXPECT_EQ(guest.gpr(vm::rcx), 3u);
}

TEST_P(DebugRegisters, ASingleStepIsTheSameTrap) {
  guest.code(kStore);
  set(0, kData, kOnWrite, kSize4);
  change_state([](vm::CpuState& state) { state.rflags |= kTf; });

  EXPECT_EQ(trapped_by(), kSingleStep | 1);
  EXPECT_EQ(guest.gpr(vm::rsp), kStack - 40) << "one frame";
}

TEST_P(DebugRegisters, AFaultIsNoAccess) {
  guest.code({0xa4});  // movsb
  guest.gpr(vm::rsi) = kData;
  guest.gpr(vm::rdi) = kSmall;  // not mapped
  set(0, kData, kOnAccess, kSize1);
  EXPECT_EQ(trapped_by(), 0u);
  EXPECT_EQ(vector(), kPageFault);
}

TEST_P(DebugRegisters, TheFrameOfAnExceptionTrapsInItsHandler) {
  guest.code({0x0f, 0x0b});  // ud2
  set(0, kStack - 8, kOnWrite, kSize8);
  EXPECT_EQ(trapped_by(), 1u);
  EXPECT_EQ(stack(0, 8), kHandlers + 16 * kInvalidOpcode);
}

TEST_P(DebugRegisters, TheFrameOfTheTrapItselfDoesNot) {
  guest.code(kStore);
  guest.code({0xf4}, kHandlers + 16 * kDebug);
  set(0, kData, kOnWrite, kSize4);
  set(1, kStack - 8, kOnWrite, kSize8);
  EXPECT_TRUE(runs_to_halt());
  EXPECT_EQ(guest.gpr(vm::rsp), kStack - 40);
}

TEST_P(DebugRegisters, MovSsHoldsTheTrapOff) {
  guest.code({0x8e, 0x16, 0xf4});  // mov ss, [rsi]; hlt
  guest.poke(kData, kFlatData, 2);
  guest.gpr(vm::rsi) = kData;
  set(0, kData, kOnAccess, kSize2);
  EXPECT_EQ(trapped_by(), 0u);
  EXPECT_EQ(guest.cpu().dr6 & 15, 1u);
}

TEST_P(DebugRegisters, ADebuggerHearsOfItWhenTheTrapIsDelivered) {
  guest.code(kStore);
  set(0, kData, kOnWrite, kSize4);
  watch({on_write(kData, 4)});

  auto hit = run_to_hit();

  ASSERT_TRUE(hit.has_value());
  EXPECT_EQ(hit->instruction.value().value, kCode);
  EXPECT_EQ(vector(), kDebug);
}

TEST_P(DebugRegisters, OnPortsWithDebugExtensions) {
  guest.code({0x90, 0xef, 0x90, 0xf4});  // nop; out dx, eax; nop; hlt
  guest.code({0xf4}, kHandlers + 16 * kDebug);
  guest.gpr(vm::rdx) = 0x300;
  set(0, 0x302, kOnPort, kSize2);
  change_state([](vm::CpuState& state) { state.cr4 |= 8; });

  EXPECT_TRUE(std::holds_alternative<vm::DeviceAccess>(guest.run()));
  EXPECT_TRUE(runs_to_halt());
  EXPECT_EQ(stack(0, 8), kCode + 2);
  EXPECT_EQ(guest.cpu().dr6 & 15, 1u);
}

TEST_P(DebugRegisters, NotOnPortsWithoutThem) {
  guest.code({0xef, 0xf4});
  guest.gpr(vm::rdx) = 0x300;
  set(0, 0x300, kOnPort, kSize4);
  EXPECT_TRUE(std::holds_alternative<vm::DeviceAccess>(guest.run()));
  EXPECT_TRUE(runs_to_halt());
  EXPECT_EQ(guest.cpu().rip, kCode + 2);
}

TEST_P(DebugRegisters, OneOnPortsIsNoneOnMemory) {
  guest.code(kStore);
  set(0, kData, kOnPort, kSize4);
  change_state([](vm::CpuState& state) { state.cr4 |= 8; });
  EXPECT_TRUE(runs_to_halt());
}

class TaskTrap : public SystemTest {
 protected:
  static constexpr uint64_t kNewTss = 0xb0000;
  void SetUp() override {
    protected_mode();
    describe(kTss, 0x00008b0a00000067);   // the current task is busy
    describe(kFree, 0x0000890b00000067);  // available, 32 bits, at kNewTss
    guest.poke(kNewTss + 32, 0xc000, 4);
    guest.poke(kNewTss + 36, 2, 4);
    guest.poke(kNewTss + 40 + 4 * vm::rsp, 0x40000, 4);
    for (uint64_t i = 0; i < 6; ++i) guest.poke(kNewTss + 72 + 4 * i, kFlatData, 4);
    guest.poke(kNewTss + 76, kCode32, 4);
  }
};

TEST_F(TaskTrap, ComesBeforeTheFirstInstruction) {
  guest.poke(kNewTss + 100, 1, 1);
  execute({0xea, 0, 0, 0, 0, kFree, 0});
  EXPECT_EQ(vector(), kDebug);
  EXPECT_EQ(guest.cpu().dr6 & 0xe00f, kTaskSwitch);
  EXPECT_EQ(stack(0, 4), 0xc000u);
  EXPECT_EQ(guest.cpu().tr.selector, kFree);
}

TEST_F(TaskTrap, OnlyWhereTheTaskAsksForIt) {
  execute({0xea, 0, 0, 0, 0, kFree, 0});
  EXPECT_EQ(vector(), -1);
  EXPECT_EQ(guest.cpu().rip, 0xc000u);
  EXPECT_EQ(guest.cpu().dr6 & kTaskSwitch, 0u);
}

TEST_F(TaskTrap, LocalBreakpointsOnDataEndWithTheirTask) {
  guest.code({0x88, 0x06, 0xf4}, 0xc000);  // mov [rsi], al; hlt
  guest.poke(kNewTss + 40 + 4 * vm::rsi, kData, 4);
  vm::CpuState state = guest.cpu();
  state.dr[0] = kData;
  state.dr7 |= 1 | kOnWrite << 16;
  guest.core().set_state(state);

  execute({0xea, 0, 0, 0, 0, kFree, 0});

  EXPECT_TRUE(std::holds_alternative<vm::Halted>(guest.run()));
  EXPECT_EQ(guest.cpu().rip, 0xc003u);
}

}  // namespace
}  // namespace dejavm::soft
