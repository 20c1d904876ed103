#include "gdbstub/registers.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gdbstub/register_table.h"
#include "gdbstub/x87_tags.h"

namespace dejavm::gdb {
namespace {

using vm::CpuState;

CpuState long_mode_state() {
  CpuState state;
  for (unsigned i = 0; i < 16; ++i) state.gpr[i] = 0x1111111111111111u * i;
  state.rip = 0xffffffff81000000;
  state.rflags = 0x246;
  state.cr0 = 0x80000011;
  state.cr2 = 0x1234;
  state.cr3 = 0xabc000;
  state.cr4 = 0x620;
  state.cr8 = 5;
  state.efer = 0x500;
  state.kernel_gs_base = 0x7777;
  for (unsigned i = 0; i < 6; ++i) {
    state.segment[i].selector = static_cast<uint16_t>(8 * i);
    state.segment[i].base = 0x1000 * i;
  }
  state.segment[vm::cs].l = 1;
  for (unsigned i = 0; i < 8; ++i) state.fpu.st[i][9] = static_cast<uint8_t>(i + 1);
  for (unsigned i = 0; i < 16; ++i) state.fpu.xmm[i].fill(static_cast<uint8_t>(i));
  state.fpu.last_ip = 0x1122334455667788;
  state.fpu.last_dp = 0x99aabbccddeeff00;
  state.fpu.last_opcode = 0x7ff;
  state.fpu.ftw = 0xff;
  return state;
}

uint64_t number_of(const CpuState& state, unsigned number) {
  Bytes bytes = read_register(state, number);
  bytes.resize(8);
  return load_le<uint64_t>(bytes.data());
}

TEST(Registers, GeneralRegistersAreInGdbsOrder) {
  const CpuState state = long_mode_state();

  EXPECT_EQ(number_of(state, 1), state.gpr[vm::rbx]);
  EXPECT_EQ(number_of(state, 2), state.gpr[vm::rcx]);
  EXPECT_EQ(number_of(state, 4), state.gpr[vm::rsi]);
  EXPECT_EQ(number_of(state, 7), state.gpr[vm::rsp]);
  EXPECT_EQ(number_of(state, 15), state.gpr[vm::r15]);
}

TEST(Registers, SegmentsControlRegistersAndBases) {
  const CpuState state = long_mode_state();

  EXPECT_EQ(number_of(state, kFirstSegment), state.segment[vm::cs].selector);
  EXPECT_EQ(number_of(state, kFirstSegment + 3), state.segment[vm::es].selector);
  EXPECT_EQ(number_of(state, kFsBase), 0x4000u);
  EXPECT_EQ(number_of(state, kGsBase), 0x5000u);
  EXPECT_EQ(number_of(state, kKernelGsBase), 0x7777u);
  EXPECT_EQ(number_of(state, kCr3), 0xabc000u);
  EXPECT_EQ(number_of(state, kEfer), 0x500u);
}

TEST(Registers, X87PointersShowTheirHalves) {
  const CpuState state = long_mode_state();

  EXPECT_EQ(number_of(state, kFiseg), 0x11223344u);
  EXPECT_EQ(number_of(state, kFioff), 0x55667788u);
  EXPECT_EQ(number_of(state, kFooff), 0xddeeff00u);
}

TEST(Registers, WritingBackWhatWasReadChangesNothing) {
  const CpuState before = long_mode_state();
  CpuState after = before;

  ASSERT_TRUE(write_registers(after, read_registers(before)));

  EXPECT_EQ(vm::difference(before, after), "");
}

TEST(Registers, WritingBackInRealModeChangesNothing) {
  const CpuState before = vm::reset_state();
  CpuState after = before;

  ASSERT_TRUE(write_registers(after, read_registers(before)));

  EXPECT_EQ(vm::difference(before, after), "");
}

TEST(Registers, EveryRegisterTakesANewValue) {
  const CpuState source = long_mode_state();
  for (unsigned number = 0; number < kRegisterCount; ++number) {
    CpuState state = source;
    Bytes value = read_register(source, number);
    value[0] ^= 0x40;
    write_register(state, number, value);
    EXPECT_EQ(read_register(state, number), value) << kRegisters[number].name;
  }
}

TEST(Registers, WrongLengthOfAllRegistersIsRefused) {
  CpuState state = long_mode_state();
  Bytes values = read_registers(state);
  values.pop_back();

  EXPECT_FALSE(write_registers(state, values));

  EXPECT_EQ(vm::difference(long_mode_state(), state), "");
}

TEST(Registers, RipIsLinearInRealMode) {
  CpuState state = vm::reset_state();

  EXPECT_EQ(number_of(state, kRip), 0xfffffff0u);
}

TEST(Registers, WritingRipInRealModeKeepsTheCodeSegment) {
  CpuState state = vm::reset_state();
  Bytes linear(8);
  store_le(linear.data(), uint64_t{0xffff1234});

  write_register(state, kRip, linear);

  EXPECT_EQ(state.rip, 0x1234u);
  EXPECT_EQ(state.cs_base(), 0xffff0000u);
}

TEST(Registers, NewSelectorBringsItsBaseInRealModeOnly) {
  CpuState real = vm::reset_state();
  CpuState protected_mode = long_mode_state();
  const Bytes selector{0x00, 0x20, 0, 0};

  write_register(real, kFirstSegment + 2, selector);
  write_register(protected_mode, kFirstSegment + 2, selector);

  EXPECT_EQ(real.segment[vm::ds].base, 0x20000u);
  EXPECT_EQ(protected_mode.segment[vm::ds].selector, 0x2000u);
  EXPECT_EQ(protected_mode.segment[vm::ds].base, 0x3000u);
}

TEST(Registers, UnknownNumbersHaveNoSize) {
  EXPECT_EQ(register_size(kRegisterCount), 0u);
  EXPECT_EQ(register_size(~uint64_t{0}), 0u);
}

TEST(X87Tags, EmptyZeroValidAndSpecial) {
  vm::Fpu fpu;
  fpu.fsw = 6u << 11;                                   // ST0 is R6
  fpu.ftw = 0xc0 | 1;                                   // R6, R7 and R0 are in use: ST0, ST1, ST2
  fpu.st[0] = {0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f};  // 1.0
  fpu.st[2] = {0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x7f};  // infinity

  EXPECT_EQ(full_tags(fpu), 0b01'00'11'11'11'11'11'10);
  EXPECT_EQ(abridged_tags(full_tags(fpu)), fpu.ftw);
}

TEST(TargetXml, NamesEveryRegisterWithItsNumber) {
  const std::string xml = target_xml();

  EXPECT_THAT(xml, testing::HasSubstr("<architecture>i386:x86-64</architecture>"));
  for (unsigned number = 0; number < kRegisterCount; ++number) {
    EXPECT_THAT(xml, testing::HasSubstr(
                         fmt::format("name=\"{}\" bitsize=\"{}\"", kRegisters[number].name, register_size(number) * 8)));
    EXPECT_THAT(xml, testing::HasSubstr(fmt::format("regnum=\"{}\"", number)));
  }
}

}  // namespace
}  // namespace dejavm::gdb
