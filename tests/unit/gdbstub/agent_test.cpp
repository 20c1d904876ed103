// Agent expressions, operation by operation.
#include "gdbstub/agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dejavm::gdb {
namespace {

using testing::HasSubstr;

/// Register N holds 0x100 + N, but for the missing one above 15; the byte at address A is A + 1, below 0x1000.
AgentValues values() {
  return {[](unsigned number) { return number < 16 ? std::optional<uint64_t>(0x100 + number) : std::nullopt; },
          [](uint64_t addr, MutableByteSpan to) {
            for (uint8_t& byte : to) byte = static_cast<uint8_t>(++addr);
            return addr <= 0x1000;
          }};
}

/// The value, or UINT64_MAX - 1 with a failed expectation.
uint64_t value_of(const Bytes& code) {
  const auto value = evaluate(code, values());
  EXPECT_TRUE(value.has_value()) << (value ? "" : value.error().what);
  return value.value_or(UINT64_MAX - 1);
}

std::string error_of(const Bytes& code) {
  const auto value = evaluate(code, values());
  return value ? fmt::format("no error: {:#x}", *value) : value.error().what;
}

struct Case {
  const char* name;
  Bytes code;
  uint64_t value;
};

class AgentOperation : public testing::TestWithParam<Case> {};

TEST_P(AgentOperation, Gives) { EXPECT_EQ(value_of(GetParam().code), GetParam().value); }

// 0x22 N is the constant N, 0x27 the end; 0x22 N 0x16 8 the constant N as a signed byte.
INSTANTIATE_TEST_SUITE_P(
    All, AgentOperation,
    testing::Values(
        Case{"const8", {0x22, 0xfe, 0x27}, 0xfe}, Case{"const16", {0x23, 0x12, 0x34, 0x27}, 0x1234},
        Case{"const32", {0x24, 0x12, 0x34, 0x56, 0x78, 0x27}, 0x12345678},
        Case{"const64", {0x25, 1, 2, 3, 4, 5, 6, 7, 8, 0x27}, 0x0102030405060708},
        Case{"add", {0x22, 3, 0x22, 5, 0x02, 0x27}, 8}, Case{"sub", {0x22, 3, 0x22, 5, 0x03, 0x27}, UINT64_MAX - 1},
        Case{"mul", {0x22, 3, 0x22, 5, 0x04, 0x27}, 15},
        Case{"div_signed", {0x22, 0xf9, 0x16, 8, 0x22, 2, 0x05, 0x27}, static_cast<uint64_t>(-3)},
        Case{"div_unsigned", {0x22, 7, 0x22, 2, 0x06, 0x27}, 3},
        Case{"rem_signed", {0x22, 0xf9, 0x16, 8, 0x22, 2, 0x07, 0x27}, UINT64_MAX},
        Case{"rem_unsigned", {0x22, 7, 0x22, 2, 0x08, 0x27}, 1}, Case{"lsh", {0x22, 3, 0x22, 62, 0x09, 0x27}, 3ull << 62},
        Case{"lsh_by_64", {0x22, 3, 0x22, 64, 0x09, 0x27}, 0},
        Case{"rsh_signed", {0x22, 0xf0, 0x16, 8, 0x22, 2, 0x0a, 0x27}, static_cast<uint64_t>(-4)},
        Case{"rsh_signed_by_200", {0x22, 0xf0, 0x16, 8, 0x22, 200, 0x0a, 0x27}, UINT64_MAX},
        Case{"rsh_unsigned", {0x22, 0xf0, 0x22, 2, 0x0b, 0x27}, 0x3c},
        Case{"rsh_unsigned_by_64", {0x22, 0xf0, 0x22, 64, 0x0b, 0x27}, 0}, Case{"log_not", {0x22, 5, 0x0e, 0x27}, 0},
        Case{"log_not_0", {0x22, 0, 0x0e, 0x27}, 1}, Case{"bit_and", {0x22, 6, 0x22, 3, 0x0f, 0x27}, 2},
        Case{"bit_or", {0x22, 6, 0x22, 3, 0x10, 0x27}, 7}, Case{"bit_xor", {0x22, 6, 0x22, 3, 0x11, 0x27}, 5},
        Case{"bit_not", {0x22, 0, 0x12, 0x27}, UINT64_MAX}, Case{"equal", {0x22, 6, 0x22, 6, 0x13, 0x27}, 1},
        Case{"equal_not", {0x22, 6, 0x22, 7, 0x13, 0x27}, 0},
        Case{"less_signed", {0x22, 0xff, 0x16, 8, 0x22, 1, 0x14, 0x27}, 1},
        Case{"less_signed_not", {0x22, 1, 0x22, 1, 0x14, 0x27}, 0},
        Case{"less_unsigned", {0x22, 0xff, 0x16, 8, 0x22, 1, 0x15, 0x27}, 0},
        Case{"less_unsigned_too", {0x22, 0, 0x22, 1, 0x15, 0x27}, 1}, Case{"ext", {0x22, 0x80, 0x16, 8, 0x27}, ~0x7full},
        Case{"ext_64", {0x22, 0x80, 0x16, 64, 0x27}, 0x80}, Case{"ext_0", {0x22, 0x80, 0x16, 0, 0x27}, 0x80},
        Case{"zero_ext", {0x23, 0x12, 0x34, 0x2a, 8, 0x27}, 0x34}, Case{"zero_ext_64", {0x22, 0x12, 0x2a, 200, 0x27}, 0x12},
        Case{"ref8", {0x22, 0x10, 0x17, 0x27}, 0x11}, Case{"ref16", {0x22, 0x10, 0x18, 0x27}, 0x1211},
        Case{"ref32", {0x22, 0x10, 0x19, 0x27}, 0x14131211}, Case{"ref64", {0x22, 0x10, 0x1a, 0x27}, 0x1817161514131211},
        Case{"reg", {0x26, 0, 5, 0x27}, 0x105}, Case{"goto", {0x21, 0, 5, 0x22, 1, 0x22, 2, 0x27}, 2},
        Case{"if_goto_taken", {0x22, 9, 0x22, 1, 0x20, 0, 9, 0x22, 7, 0x27}, 9},
        Case{"if_goto_not_taken", {0x22, 9, 0x22, 0, 0x20, 0, 9, 0x22, 7, 0x27}, 7},
        Case{"dup", {0x22, 4, 0x28, 0x02, 0x27}, 8}, Case{"pop", {0x22, 4, 0x22, 5, 0x29, 0x27}, 4},
        Case{"swap", {0x22, 4, 0x22, 5, 0x2b, 0x03, 0x27}, 1}, Case{"pick", {0x22, 4, 0x22, 5, 0x22, 6, 0x32, 2, 0x27}, 4},
        // a b c -> c a b: 6 - (4 - 5)
        Case{"rot", {0x22, 4, 0x22, 5, 0x22, 6, 0x33, 0x03, 0x03, 0x27}, 7}),
    [](const auto& one) { return std::string(one.param.name); });

TEST(Agent, AConditionAsGdbSendsIt) {
  EXPECT_EQ(value_of({0x26, 0x00, 0x05, 0x2a, 0x20, 0x22, 0x07, 0x2a, 0x20, 0x13, 0x27}), 0u);
  EXPECT_EQ(value_of({0x26, 0x00, 0x05, 0x2a, 0x20, 0x23, 0x01, 0x05, 0x2a, 0x20, 0x13, 0x27}), 1u);
}

TEST(Agent, NothingThatMakesNoSenseIsEvaluated) {
  EXPECT_THAT(error_of({}), HasSubstr("has no end"));
  EXPECT_THAT(error_of({0x27}), HasSubstr("nothing is on the stack"));
  EXPECT_THAT(error_of({0x22, 1}), HasSubstr("at byte 2: the expression has no end"));
  EXPECT_THAT(error_of({0x22}), HasSubstr("cut off"));
  EXPECT_THAT(error_of({0x25, 1, 2, 3, 4, 5, 6, 7}), HasSubstr("cut off"));
  EXPECT_THAT(error_of({0x26, 0}), HasSubstr("cut off"));
  EXPECT_THAT(error_of({0x22, 1, 0x16}), HasSubstr("cut off"));
  EXPECT_THAT(error_of({0x22, 1, 0x32}), HasSubstr("cut off"));
  EXPECT_THAT(error_of({0x21, 0}), HasSubstr("cut off"));
  EXPECT_THAT(error_of({0x21, 0, 3}), HasSubstr("byte 3 is not in the expression"));
  EXPECT_THAT(error_of({0x22, 1, 0x02, 0x27}), HasSubstr("1 values are missing"));
  EXPECT_THAT(error_of({0x28, 0x27}), HasSubstr("1 values are missing"));
  EXPECT_THAT(error_of({0x22, 1, 0x32, 255, 0x27}), HasSubstr("255 values are missing"));
  EXPECT_THAT(error_of({0x22, 1, 0x22, 2, 0x33, 0x27}), HasSubstr("1 values are missing"));
  for (const unsigned op : {0x00, 0x01, 0x0c, 0x0d, 0x1b, 0x1f, 0x2c, 0x2d, 0x2f, 0x30, 0x31, 0x34, 0x35, 0xff}) {
    EXPECT_THAT(error_of({0x22, 1, 0x22, 1, static_cast<uint8_t>(op), 0x27}),
                HasSubstr(fmt::format("operation {:#x} is not supported", op)));
  }
}

TEST(Agent, WhatCannotBeReadIsAnError) {
  EXPECT_THAT(error_of({0x26, 0, 16, 0x27}), HasSubstr("cannot read register 16"));
  EXPECT_THAT(error_of({0x23, 0x10, 0x00, 0x17, 0x27}), HasSubstr("cannot read 1 bytes at 0x1000"));
}

TEST(Agent, DivisionsThatHaveNoResultAreErrors) {
  for (const unsigned op : {0x05, 0x06, 0x07, 0x08}) {
    EXPECT_THAT(error_of({0x22, 1, 0x22, 0, static_cast<uint8_t>(op), 0x27}), HasSubstr("division by zero")) << op;
  }
  const Bytes lowest = {0x22, 1, 0x22, 63, 0x09, 0x22, 0xff, 0x16, 8};  // -2^63, -1
  for (const unsigned op : {0x05, 0x07}) {
    Bytes code = lowest;
    code.insert(code.end(), {static_cast<uint8_t>(op), 0x27});
    EXPECT_THAT(error_of(code), HasSubstr("division")) << op;
  }
}

TEST(Agent, LoopsAndStacksAreBounded) {
  EXPECT_THAT(error_of({0x21, 0, 0}), HasSubstr("it ran for 10000 steps"));
  EXPECT_THAT(error_of({0x22, 1, 0x21, 0, 0}), HasSubstr("more than 256 values"));
}

}  // namespace
}  // namespace dejavm::gdb
