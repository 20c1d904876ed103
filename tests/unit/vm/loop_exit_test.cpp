#include "vm/loop_exit.h"

#include "code_machine.h"

namespace dejavm::vm {
namespace {

class LoopExit : public CodeMachine {
 protected:
  void code(std::initializer_list<uint8_t> bytes) { CodeMachine::code(kCode, bytes); }
  std::optional<uint64_t> exit_from(uint64_t offset) {
    auto found = find_loop_exit(cpu, memory, {kCode + offset});
    return found ? std::optional(found->value - kCode) : std::nullopt;
  }
};

TEST_F(LoopExit, IsBehindTheJumpBack) {
  code({0x90, 0xff, 0xc8, 0x90, 0x75, 0xfb, 0x90, 0xcc});  // nop; 1: dec eax; nop; jnz 1; nop
  EXPECT_EQ(exit_from(1), 6u);
  EXPECT_EQ(exit_from(3), 6u);
  EXPECT_EQ(exit_from(4), 6u);
  EXPECT_EQ(exit_from(0), std::nullopt);  // before the loop
  EXPECT_EQ(exit_from(6), std::nullopt);  // behind it
}

TEST_F(LoopExit, IsThatOfTheInnermostLoopAround) {
  // 1: nop; 2: dec eax; jnz 2; dec ecx; jnz 1; ret
  code({0x90, 0xff, 0xc8, 0x75, 0xfc, 0xff, 0xc9, 0x0f, 0x85, 0xf3, 0xff, 0xff, 0xff, 0xc3, 0xcc});
  EXPECT_EQ(exit_from(1), 5u);
  EXPECT_EQ(exit_from(0), 13u);
  EXPECT_EQ(exit_from(5), 13u);
}

TEST_F(LoopExit, PassesJumpsForwardAndReturns) {
  code({0x90, 0x74, 0x01, 0xc3, 0x0f, 0x84, 0xf6, 0xff, 0xff, 0xff, 0xf4, 0xcc});  // 1: nop; jz 2; ret; 2: jz 1; hlt
  EXPECT_EQ(exit_from(0), 10u);
}

TEST_F(LoopExit, IsNothingWhereTheCodeEndsOrCannotBeRead) {
  code({0xcc, 0x75, 0xfd});
  EXPECT_EQ(exit_from(0), std::nullopt);
  code({0x06, 0x75, 0xfd});  // no instruction
  EXPECT_EQ(exit_from(0), std::nullopt);
  EXPECT_EQ(exit_from(uint64_t{1} << 40), std::nullopt);
  code({0x90, 0x75, 0xfd});
  cpu.segment[cs].l = 0;
  EXPECT_EQ(exit_from(0), std::nullopt);
}

}  // namespace
}  // namespace dejavm::vm
