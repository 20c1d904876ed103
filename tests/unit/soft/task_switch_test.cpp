// Hardware task switches.
#include "engine/soft/flags.h"
#include "system_fixture.h"

namespace dejavm::soft {
namespace {

constexpr uint64_t kNewTss = 0xb0000;
constexpr uint16_t kNewTask = kFree, kGateToTask = kFree + 8;

class TaskSwitchTest : public SystemTest {
 protected:
  void SetUp() override {
    protected_mode();
    describe(kTss, 0x00008b0a00000067);      // the current task is busy
    describe(kNewTask, 0x0000890b00000067);  // available, 32 bits, at kNewTss
    describe(kGateToTask, uint64_t{kNewTask} << 16 | uint64_t{0xe5} << 40);
    guest.poke(kNewTss + 32, 0xc000, 4);
    guest.poke(kNewTss + 36, 2 | kCf, 4);
    for (uint64_t i = 0; i < 8; ++i) guest.poke(kNewTss + 40 + 4 * i, 0x40000 + i, 4);
    for (uint64_t i = 0; i < 6; ++i) guest.poke(kNewTss + 72 + 4 * i, kFlatData, 4);
    guest.poke(kNewTss + 76, kCode32, 4);
  }
  unsigned type_of(uint16_t selector) { return static_cast<unsigned>(guest.peek(kGdt + selector + 5, 1)) & 15; }
};

TEST_F(TaskSwitchTest, JumpSavesOneTaskAndLoadsTheOther) {
  guest.gpr(vm::rdi) = 0x77;
  execute({0xea, 0, 0, 0, 0, kNewTask, 0});
  EXPECT_EQ(guest.peek(kTssBase + 32, 4), kCode + 7);
  EXPECT_EQ(guest.peek(kTssBase + 40 + 4 * vm::rdi, 4), 0x77u);
  EXPECT_EQ(guest.peek(kTssBase + 76, 4), kCode32);
  EXPECT_EQ(guest.cpu().rip, 0xc000u);
  EXPECT_EQ(guest.cpu().rflags, 2 | kCf);
  EXPECT_EQ(guest.gpr(vm::rsp), 0x40004u);
  EXPECT_EQ(guest.cpu().tr.selector, kNewTask);
  EXPECT_EQ(guest.cpu().tr.base, kNewTss);
  EXPECT_EQ(guest.cpu().tr.type, 11);
  EXPECT_NE(guest.cpu().cr0 & 8, 0u);
  EXPECT_EQ(type_of(kTss), 9u);
  EXPECT_EQ(type_of(kNewTask), 11u);
}

TEST_F(TaskSwitchTest, CallNestsAndIretComesBack) {
  execute({0x9a, 0, 0, 0, 0, kGateToTask, 0});
  EXPECT_EQ(guest.peek(kNewTss, 2), kTss);
  EXPECT_EQ(guest.cpu().rflags, 2 | kCf | kNt);
  EXPECT_EQ(type_of(kTss), 11u);
  execute({0xcf});
  EXPECT_EQ(guest.cpu().rip, kCode + 7);
  EXPECT_EQ(guest.gpr(vm::rsp), kStack);
  EXPECT_EQ(guest.cpu().tr.selector, kTss);
  EXPECT_EQ(type_of(kNewTask), 9u);
  EXPECT_EQ(guest.peek(kNewTss + 36, 4), 2 | kCf);  // saved without NT
  EXPECT_EQ(guest.peek(kNewTss + 32, 4), 0xc001u);
}

TEST_F(TaskSwitchTest, BusyTaskCannotBeEntered) {
  describe(kNewTask, 0x00008b0b00000067);
  execute({0xea, 0, 0, 0, 0, kNewTask, 0});
  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_EQ(stack(0, 4), kNewTask);
}

TEST_F(TaskSwitchTest, ShortTssIsInvalid) {
  describe(kNewTask, 0x0000890b00000066);
  execute({0xea, 0, 0, 0, 0, kNewTask, 0});
  EXPECT_EQ(vector(), kInvalidTss);
  EXPECT_EQ(stack(0, 4), kNewTask);
  EXPECT_EQ(type_of(kTss), 11u);
}

TEST_F(TaskSwitchTest, ExceptionThroughATaskGatePushesItsErrorCodeThere) {
  gate(kGeneralProtection, uint64_t{kNewTask} << 16 | uint64_t{0x85} << 40);
  guest.gpr(vm::rax) = 0x1000;
  execute({0x8e, 0xd8});
  EXPECT_EQ(guest.cpu().rip, 0xc000u);
  EXPECT_EQ(guest.gpr(vm::rsp), 0x40000u);
  EXPECT_EQ(stack(0, 4), 0x1000u);
  EXPECT_EQ(guest.peek(kTssBase + 32, 4), kCode);
  EXPECT_EQ(guest.peek(kTssBase + 36, 4), 2 | kRf);
}

TEST_F(TaskSwitchTest, BadSegmentIsTheNewTasksException) {
  guest.poke(kNewTss + 84, 0x1000, 4);  // DS
  execute({0xea, 0, 0, 0, 0, kNewTask, 0});
  EXPECT_EQ(vector(), kInvalidTss);
  EXPECT_EQ(stack(0, 4), 0x1000u);
  EXPECT_EQ(stack(1, 4), 0xc000u);
  EXPECT_EQ(guest.cpu().tr.selector, kNewTask);
}

TEST_F(TaskSwitchTest, SixteenBitTask) {
  describe(kNewTask, 0x0000810b0000002b);
  guest.poke(kNewTss + 14, 0xc000, 2);
  guest.poke(kNewTss + 16, 2 | kZf, 2);
  for (uint64_t i = 0; i < 8; ++i) guest.poke(kNewTss + 18 + 2 * i, 0x4000 + i, 2);
  for (uint64_t i = 0; i < 4; ++i) guest.poke(kNewTss + 34 + 2 * i, kFlatData, 2);
  guest.poke(kNewTss + 36, kCode32, 2);
  guest.poke(kNewTss + 42, 0, 2);
  execute({0xea, 0, 0, 0, 0, kNewTask, 0});
  EXPECT_EQ(guest.cpu().rip, 0xc000u);
  EXPECT_EQ(guest.gpr(vm::rsp), 0x4004u);
  EXPECT_EQ(guest.cpu().rflags, 2 | kZf);
  EXPECT_EQ(guest.cpu().tr.type, 3);
}

TEST_F(TaskSwitchTest, IntoVirtual8086) {
  guest.poke(kNewTss + 36, 2 | kVm, 4);
  guest.poke(kNewTss + 76, 0xc00, 4);
  execute({0xea, 0, 0, 0, 0, kNewTask, 0});
  EXPECT_TRUE(guest.core().virtual_8086());
  EXPECT_EQ(guest.core().cpl(), 3u);
  EXPECT_EQ(guest.cpu().linear_rip(), 0x18000u);
}

}  // namespace
}  // namespace dejavm::soft
