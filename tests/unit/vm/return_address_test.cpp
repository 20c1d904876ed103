#include "vm/return_address.h"

#include "code_machine.h"

namespace dejavm::vm {
namespace {

using ReturnAddress = CodeMachine;

TEST_F(ReturnAddress, IsBehindACall) {
  code(kCode + 0x100, {0xe8, 0, 0, 0, 0});
  code(kCode + 0x200, {0xe8, 0, 0, 0, 0});
  push(kStack, 1234);               // no address
  push(kStack + 8, kCode + 0x150);  // behind no call
  push(kStack + 16, kCode + 0x105);
  push(kStack + 24, kCode + 0x205);
  push(kStack + 32, kCode + 0x105);  // once more
  EXPECT_EQ(find_return_addresses(cpu, memory, 1), std::vector{GuestVirt{kCode + 0x105}});
  EXPECT_EQ(find_return_addresses(cpu, memory, 9), (std::vector{GuestVirt{kCode + 0x105}, GuestVirt{kCode + 0x205}}));
}

TEST_F(ReturnAddress, OfIndirectCallsToo) {
  code(kCode + 0x100, {0xff, 0xd0});  // call rax
  push(kStack, kCode + 0x102);
  EXPECT_EQ(find_return_addresses(cpu, memory, 1), std::vector{GuestVirt{kCode + 0x102}});
  code(kCode + 0x100, {0xff, 0x14, 0x25, 0, 0x40, 0, 0});  // call [0x4000]
  push(kStack, kCode + 0x107);
  EXPECT_EQ(find_return_addresses(cpu, memory, 1), std::vector{GuestVirt{kCode + 0x107}});
}

TEST_F(ReturnAddress, IsNothingWhereThereIsNone) {
  EXPECT_TRUE(find_return_addresses(cpu, memory, 9).empty());
  cpu.gpr[rsp] = 0xffff900000000000;  // not mapped
  EXPECT_TRUE(find_return_addresses(cpu, memory, 9).empty());
  cpu.gpr[rsp] = 0x1ffffc;  // the first word ends behind the map
  EXPECT_TRUE(find_return_addresses(cpu, memory, 9).empty());
}

TEST_F(ReturnAddress, IsNotSoughtFurtherThanSixtyFourWords) {
  code(kCode + 0x100, {0xe8, 0, 0, 0, 0});
  push(kStack + 64 * 8, kCode + 0x105);
  EXPECT_TRUE(find_return_addresses(cpu, memory, 9).empty());
  push(kStack + 63 * 8, kCode + 0x105);
  EXPECT_EQ(find_return_addresses(cpu, memory, 1), std::vector{GuestVirt{kCode + 0x105}});
}

TEST_F(ReturnAddress, IsForCodeOf64Bits) {
  code(kCode + 0x100, {0xe8, 0, 0, 0, 0});
  push(kStack, kCode + 0x105);
  cpu.segment[cs].l = 0;
  EXPECT_TRUE(find_return_addresses(cpu, memory, 9).empty());
}

TEST_F(ReturnAddress, SlotIsFoundByWhatTheCodeDoesToTheStack) {
  code(kCode + 0x100, {0xe8, 0, 0, 0, 0});  // the caller: call ..., add rsp, 8; ret
  code(kCode + 0x105, {0x48, 0x83, 0xc4, 0x08, 0xc3});
  code(kCode + 0x200, {0xe8, 0, 0, 0, 0, 0xf4});      // its caller: call ...; hlt
  code(kCode, {0x75, 0x02, 0x5b, 0xc3, 0xeb, 0xfe});  // jne +2; pop rbx; ret; a loop
  push(kStack, kCode + 0x105);                        // a stale one
  push(kStack + 8, kCode + 0x105);
  push(kStack + 24, kCode + 0x205);
  auto slots = find_return_slots(cpu, memory, 9);
  ASSERT_EQ(slots.size(), 2u);
  EXPECT_EQ(slots[0].at, GuestVirt{kStack + 8});
  EXPECT_EQ(slots[0].returns_to, GuestVirt{kCode + 0x105});
  EXPECT_EQ(slots[1].at, GuestVirt{kStack + 24});
  EXPECT_EQ(slots[1].returns_to, GuestVirt{kCode + 0x205});
}

TEST_F(ReturnAddress, SlotIsFoundThroughTheFramePointer) {
  code(kCode + 0x100, {0xe8, 0, 0, 0, 0});
  code(kCode, {0xc9, 0xc3});  // leave; ret
  cpu.gpr[rbp] = kStack + 64;
  push(kStack + 72, kCode + 0x105);
  auto slots = find_return_slots(cpu, memory, 1);
  ASSERT_EQ(slots.size(), 1u);
  EXPECT_EQ(slots[0].at, GuestVirt{kStack + 72});
}

TEST_F(ReturnAddress, SlotIsNothingWhereCodeCannotBeFollowed) {
  code(kCode + 0x100, {0xe8, 0, 0, 0, 0});
  push(kStack, kCode + 0x105);
  code(kCode, {0xff, 0xe0});  // jmp rax
  EXPECT_TRUE(find_return_slots(cpu, memory, 1).empty());
  code(kCode, {0x48, 0x89, 0xc4, 0xc3});  // mov rsp, rax; ret
  EXPECT_TRUE(find_return_slots(cpu, memory, 1).empty());
  code(kCode, {0xc3});
  EXPECT_EQ(find_return_slots(cpu, memory, 1).size(), 1u);
  push(kStack, kCode + 0x150);  // behind no call
  EXPECT_TRUE(find_return_slots(cpu, memory, 1).empty());
  cpu.segment[cs].l = 0;
  EXPECT_TRUE(find_return_slots(cpu, memory, 1).empty());
}

}  // namespace
}  // namespace dejavm::vm
