#include "vm/loop_exit.h"

#include <gtest/gtest.h>

#include <initializer_list>

#include "base/bytes.h"
#include "vm/startup_state.h"

namespace dejavm::vm {
namespace {

constexpr uint64_t kCode = 0x10000;

class LoopExit : public testing::Test {
 protected:
  LoopExit() : memory(GuestMemory::create(0x20000, 0).value()) {
    EXPECT_TRUE(memory.set_map({{.base = {0}, .size = 0x20000, .offset = 0, .writable = true}}));
    for (auto [at, entry] : {std::pair{0x1000, 0x2003}, {0x2000, 0x3003}, {0x3000, 0x83}}) {
      uint8_t bytes[8];
      store_le(bytes, uint64_t{static_cast<uint32_t>(entry)});
      EXPECT_TRUE(memory.write({static_cast<uint64_t>(at)}, bytes, Writer::loader));
    }
    cpu = long_mode_state(kCode, 0x1000);
  }
  void code(std::initializer_list<uint8_t> bytes) {
    EXPECT_TRUE(memory.write({kCode}, {bytes.begin(), bytes.size()}, Writer::loader));
  }
  std::optional<uint64_t> exit_from(uint64_t offset) {
    auto found = find_loop_exit(cpu, memory, {kCode + offset});
    return found ? std::optional(found->value - kCode) : std::nullopt;
  }

  GuestMemory memory;
  CpuState cpu;
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
