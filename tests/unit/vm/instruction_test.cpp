#include "vm/instruction.h"

#include <gmock/gmock.h>

#include "fake_vcpu.h"

namespace dejavm::vm {
namespace {

InstructionInfo info(const Bytes& code, unsigned bits = 32) { return decode_instruction(code, bits).value(); }

TEST(Instruction, ReadModifyWriteReadsAndWrites) {
  InstructionInfo add = info({0x83, 0x07, 0x01});  // add dword [edi], 1

  EXPECT_EQ(add.length, 3u);
  EXPECT_EQ(add.memory_reads, 1u);
  EXPECT_EQ(add.memory_writes, 1u);
  EXPECT_EQ(add.operand_bytes, 4u);
}

TEST(Instruction, MovsReadsAndWritesHiddenOperands) {
  InstructionInfo movs = info({0xf3, 0xa5});  // rep movsd

  EXPECT_EQ(movs.memory_reads, 1u);
  EXPECT_EQ(movs.memory_writes, 1u);
  EXPECT_TRUE(movs.repeated);
}

TEST(Instruction, InsAndOutsTouchPortAndMemory) {
  InstructionInfo ins = info({0x6c}), outs = info({0x6e}), in = info({0xec}), out = info({0xe6, 0x80});

  EXPECT_TRUE(ins.port_read && ins.memory_writes == 1);
  EXPECT_TRUE(outs.port_write && outs.memory_reads == 1);
  EXPECT_TRUE(in.port_read && in.memory_writes == 0);
  EXPECT_TRUE(out.port_write && out.memory_reads == 0);
}

TEST(Instruction, SixteenByteMovesSaySo) {
  EXPECT_EQ(info({0x0f, 0x10, 0x07}).operand_bytes, 16u);
  EXPECT_EQ(info({0x0f, 0x11, 0x07}).memory_writes, 1u);
}

TEST(Instruction, LeaTouchesNoMemory) { EXPECT_EQ(info({0x8d, 0x07}).memory_reads, 0u); }

TEST(Instruction, BehindStiIsWhereTheRingMayExecuteIt) {
  GuestMemory memory = GuestMemory::create(kPageSize * 2, 0).value();
  ASSERT_TRUE(memory.set_map({{.base = {0}, .size = kPageSize * 2, .offset = 0, .writable = true}}));
  const uint8_t sti = 0xfb;
  ASSERT_TRUE(memory.write({kCode}, {&sti, 1}, Writer::loader));
  CpuState cpu = FakeVcpu::start_state();

  cpu.rip = kCode;
  EXPECT_FALSE(follows_sti(cpu, memory));
  cpu.rip = kCode + 1;
  EXPECT_TRUE(follows_sti(cpu, memory));
  cpu.segment[cs].selector |= 3;
  EXPECT_FALSE(follows_sti(cpu, memory));
  cpu.rflags |= 0x3000;  // IOPL
  EXPECT_TRUE(follows_sti(cpu, memory));
}

TEST(Instruction, WhatIsNoneIsRefused) {
  EXPECT_FALSE(decode_instruction({}, 32));
  EXPECT_FALSE(decode_instruction(Bytes{0x83, 0x07}, 32));
  EXPECT_FALSE(decode_instruction(Bytes{0x0f, 0xff}, 64));
  EXPECT_EQ(disassemble(Bytes{0x0f}, 64, {0}), "(not an instruction)");
  EXPECT_EQ(disassemble(Bytes{0x89, 0x07}, 32, {0}), "mov [edi], eax");
}

/// A guest in 32-bit code without paging; RIP stands `past` bytes behind the start of the code.
class FindInstruction : public testing::Test {
 protected:
  FindInstruction() { EXPECT_TRUE(memory_.set_map({{{0}, 0x10000, 0, true}})); }

  /// The offset in the code, or -1.
  int64_t find(const Bytes& code, uint64_t past, const Access& access) {
    EXPECT_TRUE(memory_.write({kCode}, code, Writer::loader));
    cpu_.rip = kCode + past;
    auto found = find_accessing_instruction(cpu_, memory_, access);
    return found ? static_cast<int64_t>(found->value - kCode) : -1;
  }
  static Access write_of(uint64_t addr, uint8_t size) { return {Space::mmio, Direction::write, size, addr, 0}; }

  GuestMemory memory_ = GuestMemory::create(0x10000, 0).value();
  CpuState cpu_ = FakeVcpu::start_state();
};

constexpr uint64_t kMmio = 0xf0000000;

TEST_F(FindInstruction, AMovThatIsPast) {
  cpu_.gpr[rdi] = kMmio;

  EXPECT_EQ(find({0x90, 0x89, 0x47, 0x08}, 4, write_of(kMmio + 8, 4)), 1);
  EXPECT_EQ(find({0x90, 0x89, 0x47, 0x08}, 4, write_of(kMmio + 0x10, 4)), -1);
}

TEST_F(FindInstruction, APrefixBelongsToItsInstruction) {
  cpu_.gpr[rdi] = kMmio;

  EXPECT_EQ(find({0x90, 0x66, 0x89, 0x07}, 4, write_of(kMmio, 2)), 1);
  EXPECT_EQ(find({0x90, 0xf0, 0x83, 0x07, 0x01}, 5, write_of(kMmio, 4)), 1);  // lock add
}

TEST_F(FindInstruction, APushHasMovedTheStackPointer) {
  cpu_.gpr[rsp] = kMmio + 0xfc;

  EXPECT_EQ(find({0x90, 0x50}, 2, write_of(kMmio + 0xfc, 4)), 1);
}

TEST_F(FindInstruction, AStosHasMovedItsPointer) {
  cpu_.gpr[rdi] = kMmio + 4;

  EXPECT_EQ(find({0x90, 0xab}, 2, write_of(kMmio, 4)), 1);
}

TEST_F(FindInstruction, AMovsBackwardsHasMovedItsPointerDown) {
  cpu_.gpr[rdi] = kMmio;
  cpu_.rflags |= 1u << 10;

  EXPECT_EQ(find({0x90, 0xa5}, 2, write_of(kMmio + 4, 4)), 1);
}

TEST_F(FindInstruction, ARepStosThatGoesOnIsAtRip) {
  cpu_.gpr[rdi] = kMmio + 4;

  EXPECT_EQ(find({0xf3, 0xab}, 0, write_of(kMmio, 4)), 0);
}

TEST_F(FindInstruction, AnOutByRegisterOrImmediate) {
  cpu_.gpr[rdx] = 0xabcd0402;  // dx

  EXPECT_EQ(find({0x90, 0xee}, 2, {Space::pio, Direction::write, 1, 0x402, 0}), 1);
  EXPECT_EQ(find({0x90, 0xe6, 0x80}, 3, {Space::pio, Direction::write, 1, 0x80, 0}), 1);
  EXPECT_EQ(find({0x90, 0xe6, 0x80}, 3, {Space::pio, Direction::write, 1, 0x81, 0}), -1);
}

TEST_F(FindInstruction, AReadOfAPort) {
  cpu_.gpr[rdx] = 0x3fd;

  EXPECT_EQ(find({0x90, 0xec}, 2, {Space::pio, Direction::read, 1, 0x3fd, 0}), 1);
}

TEST_F(FindInstruction, NothingFitsAfterAJump) { EXPECT_EQ(find({0x90, 0x90, 0x90, 0x90}, 4, write_of(kMmio, 4)), -1); }

TEST_F(FindInstruction, AnElementOfTwoPagesIsFoundByItsSecond) {
  cpu_.gpr[rdi] = kMmio + 0x1001;

  EXPECT_EQ(find({0x90, 0xab}, 2, write_of(kMmio + 0x1000, 1)), 1);  // stosd at 0xffd: 3 bytes and 1
}

TEST_F(FindInstruction, TheOperandsOfACompareAreToldApart) {
  Bytes cmpsd = {0xa7};
  ASSERT_TRUE(memory_.write({kCode}, cmpsd, Writer::loader));
  cpu_.rip = kCode;
  cpu_.gpr[rsi] = kMmio;
  cpu_.gpr[rdi] = kMmio + 0x40;
  auto operand_at = [&](uint64_t addr) {
    return accessed_operand(cpu_, memory_, {kCode}, {Space::mmio, Direction::read, 4, addr, 0});
  };

  EXPECT_TRUE(operand_at(kMmio));
  EXPECT_TRUE(operand_at(kMmio + 0x40));
  EXPECT_NE(operand_at(kMmio), operand_at(kMmio + 0x40));
  EXPECT_FALSE(operand_at(kMmio + 4));  // the next element
}

TEST_F(FindInstruction, RipAtTheStartOfMemoryIsNoTrap) {
  cpu_.rip = 3;

  EXPECT_FALSE(find_accessing_instruction(cpu_, memory_, write_of(kMmio, 4)));
}

}  // namespace
}  // namespace dejavm::vm
