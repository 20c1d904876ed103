// Integer instructions against the host CPU: results and all status flags.
#include <fmt/format.h>

#include "engine/soft/translate/flag_effects.h"
#include "native_comparison.h"

namespace dejavm::soft {
namespace {

using Bytes = std::vector<uint8_t>;

/// An instruction of 1, 2, 4 or 8 bytes: `wide` is the opcode of the last three; `low` the 8-bit one's, 0 when there is
/// none.
Bytes sized(unsigned size, Bytes low, Bytes wide, Bytes rest) {
  Bytes result;
  if (size == 2) result.push_back(0x66);
  if (size == 8) result.push_back(0x48);
  const Bytes& opcode = size == 1 ? low : wide;
  result.insert(result.end(), opcode.begin(), opcode.end());
  result.insert(result.end(), rest.begin(), rest.end());
  return result;
}

uint8_t byte(unsigned value) { return static_cast<uint8_t>(value); }

// ModRM: operands AX, BX (r/m AX); [RSI], BX; [RSI + 8], BX.
constexpr uint8_t kAxBx = 0xd8, kMemoryBx = 0x1e;
/// The same with an opcode extension: AX; [RSI].
uint8_t ax(unsigned extension) { return byte(0xc0 | extension << 3); }
uint8_t memory(unsigned extension) { return byte(0x06 | extension << 3); }

class NativeIntegers : public testing::Test {
 protected:
  void SetUp() override {
    if (!NativeOracle::host_is_amd()) GTEST_SKIP() << "the host is no AMD CPU: its undefined flags are not the model's";
  }
  NativeComparison host_;
};

TEST_F(NativeIntegers, ArithmeticAndLogic) {
  const char* names[] = {"add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"};
  for (unsigned op = 0; op < 8; ++op) {
    for (unsigned size : {1u, 2u, 4u, 8u}) {
      std::string name = fmt::format("{} {}", names[op], size);
      Bytes to{byte(op << 3)}, to_wide{byte(op << 3 | 1)}, from{byte(op << 3 | 2)}, from_wide{byte(op << 3 | 3)};
      host_.compare(name + " ax, bx", sized(size, to, to_wide, {kAxBx}));
      host_.compare(name + " [rsi], bx", sized(size, to, to_wide, {kMemoryBx}));
      host_.compare(name + " bx, [rsi]", sized(size, from, from_wide, {kMemoryBx}));
      host_.compare(name + " bx, ax", sized(size, from, from_wide, {kAxBx}));
      host_.compare(name + " ax, -5", sized(size, {0x80}, {0x83}, {ax(op), 0xfb}));
      host_.compare(name + " [rsi], 0x7e", sized(size, {0x80}, {0x83}, {memory(op), 0x7e}));
    }
    Bytes wide_immediate{0x48, byte(op << 3 | 5), 0x78, 0x56, 0x34, 0x92};
    host_.compare(fmt::format("{} rax, imm32", names[op]), wide_immediate);
    host_.compare(fmt::format("{} ah, bh", names[op]), {byte(op << 3), 0xfc});
    host_.compare(fmt::format("{} bl, ah", names[op]), {byte(op << 3), 0xe3});
  }
}

TEST_F(NativeIntegers, TestAndSingleOperands) {
  for (unsigned size : {1u, 2u, 4u, 8u}) {
    host_.compare("test ax, bx", sized(size, {0x84}, {0x85}, {kAxBx}));
    host_.compare("test [rsi], bx", sized(size, {0x84}, {0x85}, {kMemoryBx}));
    for (unsigned op : {2u, 3u}) {  // not, neg
      host_.compare(fmt::format("f7/{} {}", op, size), sized(size, {0xf6}, {0xf7}, {ax(op)}));
      host_.compare(fmt::format("f7/{} [rsi] {}", op, size), sized(size, {0xf6}, {0xf7}, {memory(op)}));
    }
    for (unsigned op : {0u, 1u}) {  // inc, dec
      host_.compare(fmt::format("ff/{} {}", op, size), sized(size, {0xfe}, {0xff}, {ax(op)}));
      host_.compare(fmt::format("ff/{} [rsi] {}", op, size), sized(size, {0xfe}, {0xff}, {memory(op)}));
    }
  }
  host_.compare("test al, imm", {0xa8, 0x91});
  host_.compare("test rax, imm", {0x48, 0xa9, 0x91, 0x11, 0x22, 0xf3});
}

TEST_F(NativeIntegers, Exchanges) {
  for (unsigned size : {1u, 2u, 4u, 8u}) {
    std::string name = fmt::format(" {}", size);
    for (uint8_t modrm : {kAxBx, kMemoryBx, uint8_t{0xdb}}) {
      host_.compare("xchg" + name, sized(size, {0x86}, {0x87}, {modrm}));
      host_.compare("xadd" + name, sized(size, {0x0f, 0xc0}, {0x0f, 0xc1}, {modrm}));
      host_.compare("cmpxchg" + name, sized(size, {0x0f, 0xb0}, {0x0f, 0xb1}, {modrm}));
    }
    auto equal = [](NativeInput& input, std::mt19937_64&) {
      std::memcpy(&input.registers.rax, &input.memory[NativeInput::kOperand], 8);
    };
    host_.compare("cmpxchg equal" + name, sized(size, {0x0f, 0xb0}, {0x0f, 0xb1}, {kMemoryBx}), equal);
    host_.compare("cmpxchg dx, bx" + name, sized(size, {0x0f, 0xb0}, {0x0f, 0xb1}, {0xda}));
  }
  auto halves_equal = [](NativeInput& input, std::mt19937_64& random) {
    if (random() % 2 == 0) return;
    std::memcpy(&input.registers.rax, &input.memory[NativeInput::kOperand], 8);
    std::memcpy(&input.registers.rdx, &input.memory[NativeInput::kOperand + 8], 8);
  };
  auto quarters_equal = [](NativeInput& input, std::mt19937_64& random) {
    if (random() % 2 == 0) return;
    std::memcpy(&input.registers.rax, &input.memory[NativeInput::kOperand], 4);
    std::memcpy(&input.registers.rdx, &input.memory[NativeInput::kOperand + 4], 4);
  };
  host_.compare("cmpxchg8b", {0x0f, 0xc7, 0x0e}, quarters_equal);
  host_.compare("cmpxchg16b", {0x48, 0x0f, 0xc7, 0x0e}, halves_equal);
  host_.compare("cmpxchg16b not aligned", {0x48, 0x0f, 0xc7, 0x4e, 0x08});
  host_.compare("xchg rax, rdx", {0x48, 0x92});
}

TEST_F(NativeIntegers, Moves) {
  for (unsigned size : {1u, 2u, 4u, 8u}) {
    host_.compare("mov ax, bx", sized(size, {0x88}, {0x89}, {kAxBx}));
    host_.compare("mov [rsi], bx", sized(size, {0x88}, {0x89}, {kMemoryBx}));
    host_.compare("mov bx, [rsi]", sized(size, {0x8a}, {0x8b}, {kMemoryBx}));
  }
  host_.compare("mov ah, [rsi+3]", {0x8a, 0x66, 0x03});
  host_.compare("mov rax, -2", {0x48, 0xc7, 0xc0, 0xfe, 0xff, 0xff, 0xff});
  host_.compare("mov qword [rsi], -2", {0x48, 0xc7, 0x06, 0xfe, 0xff, 0xff, 0xff});
  host_.compare("mov rax, imm64", {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 0x88});
  host_.compare("mov cl, 0x80", {0xb1, 0x80});
  for (uint8_t opcode : {uint8_t{0xb6}, uint8_t{0xb7}, uint8_t{0xbe}, uint8_t{0xbf}}) {
    for (unsigned size : {2u, 4u, 8u}) {
      host_.compare(fmt::format("0f {:x} bx, ax", opcode), sized(size, {}, {0x0f, opcode}, {kAxBx}));
      host_.compare(fmt::format("0f {:x} bx, [rsi]", opcode), sized(size, {}, {0x0f, opcode}, {kMemoryBx}));
    }
  }
  host_.compare("movsxd rbx, eax", {0x48, 0x63, 0xd8});
  host_.compare("movsxd ebx, eax", {0x63, 0xd8});
  host_.compare("movsxd rbx, [rsi]", {0x48, 0x63, 0x1e});
  for (unsigned size : {2u, 4u, 8u}) {
    host_.compare("lea", sized(size, {}, {0x8d}, {0x5c, 0x48, 0xf0}));  // bx, [rax + 2 * rcx - 16]
    host_.compare("lea 67", sized(size, {}, {0x67, 0x8d}, {0x5c, 0x48, 0xf0}), {});
    host_.compare("movbe load", sized(size, {}, {0x0f, 0x38, 0xf0}, {kMemoryBx}));
    host_.compare("movbe store", sized(size, {}, {0x0f, 0x38, 0xf1}, {kMemoryBx}));
    host_.compare("cbw", sized(size, {}, {0x98}, {}));
    host_.compare("cwd", sized(size, {}, {0x99}, {}));
    host_.compare("bswap", sized(size, {}, {0x0f, 0xcb}, {}));
  }
  host_.compare("movnti", {0x48, 0x0f, 0xc3, 0x1e});
  host_.compare("lahf", {0x9f});
  host_.compare("sahf", {0x9e});
  host_.compare("cmc", {0xf5});
  host_.compare("stc", {0xf9});
  host_.compare("clc", {0xf8});
}

TEST_F(NativeIntegers, Conditions) {
  for (unsigned condition = 0; condition < 16; ++condition) {
    host_.compare(fmt::format("set{}", condition), {0x0f, byte(0x90 | condition), 0xc0});
    host_.compare(fmt::format("set{} [rsi]", condition), {0x0f, byte(0x90 | condition), 0x06});
    for (unsigned size : {2u, 4u, 8u}) {
      host_.compare(fmt::format("cmov{} {}", condition, size), sized(size, {}, {0x0f, byte(0x40 | condition)}, {kAxBx}));
      host_.compare(fmt::format("cmov{} [rsi]", condition), sized(size, {}, {0x0f, byte(0x40 | condition)}, {kMemoryBx}));
    }
  }
}

TEST_F(NativeIntegers, Shifts) {
  const char* names[] = {"rol", "ror", "rcl", "rcr", "shl", "shr", "sal", "sar"};
  for (unsigned op = 0; op < 8; ++op) {
    for (unsigned size : {1u, 2u, 4u, 8u}) {
      std::string name = fmt::format("{} {}", names[op], size);
      host_.compare(name + " by 1", sized(size, {0xd0}, {0xd1}, {ax(op)}));
      host_.compare(name + " by cl", sized(size, {0xd2}, {0xd3}, {ax(op)}));
      host_.compare(name + " [rsi] by cl", sized(size, {0xd2}, {0xd3}, {memory(op)}));
      host_.compare(name + " [rsi] by 1", sized(size, {0xd0}, {0xd1}, {memory(op)}));
      for (uint8_t count = 0; count < 66; ++count) {
        host_.compare(fmt::format("{} by {}", name, count), sized(size, {0xc0}, {0xc1}, {ax(op), count}));
      }
    }
  }
}

TEST_F(NativeIntegers, DoubleShifts) {
  for (uint8_t opcode : {uint8_t{0xa4}, uint8_t{0xac}}) {
    for (unsigned size : {2u, 4u, 8u}) {
      std::string name = fmt::format("0f {:x} {}", opcode, size);
      host_.compare(name + " by cl", sized(size, {}, {0x0f, byte(opcode + 1u)}, {kAxBx}));
      host_.compare(name + " [rsi] by cl", sized(size, {}, {0x0f, byte(opcode + 1u)}, {kMemoryBx}));
      for (uint8_t count = 0; count < 66; ++count) {
        host_.compare(fmt::format("{} by {}", name, count), sized(size, {}, {0x0f, opcode}, {kAxBx, count}));
        host_.compare(fmt::format("{} [rsi] by {}", name, count), sized(size, {}, {0x0f, opcode}, {kMemoryBx, count}));
      }
    }
  }
}

TEST_F(NativeIntegers, MultiplicationAndDivision) {
  auto small_dividend = [](NativeInput& input, std::mt19937_64& random) {
    if (random() % 2 == 0) input.registers.rdx = random() % 2 == 0 ? 0 : ~uint64_t{0};
    if (random() % 4 == 0) input.registers.rax &= 0xff;
  };
  for (unsigned size : {1u, 2u, 4u, 8u}) {
    for (unsigned op = 4; op < 8; ++op) {  // mul, imul, div, idiv
      std::string name = fmt::format("f7/{} {}", op, size);
      host_.compare(name, sized(size, {0xf6}, {0xf7}, {byte(ax(op) | 3)}), small_dividend);
      host_.compare(name + " [rsi]", sized(size, {0xf6}, {0xf7}, {memory(op)}), small_dividend);
    }
  }
  for (unsigned size : {2u, 4u, 8u}) {
    host_.compare("imul bx, ax", sized(size, {}, {0x0f, 0xaf}, {kAxBx}));
    host_.compare("imul bx, [rsi]", sized(size, {}, {0x0f, 0xaf}, {kMemoryBx}));
    host_.compare("imul bx, ax, -7", sized(size, {}, {0x6b}, {kAxBx, 0xf9}));
    host_.compare("imul bx, [rsi], 100", sized(size, {}, {0x6b}, {kMemoryBx, 100}));
  }
  host_.compare("imul rbx, rax, imm32", {0x48, 0x69, kAxBx, 0x78, 0x56, 0x34, 0x82});
  host_.compare("idiv min by -1", {0x48, 0xf7, 0xfb}, [](NativeInput& input, std::mt19937_64&) {
    input.registers.rdx = uint64_t{1} << 63;
    input.registers.rax = 0;
    input.registers.rbx = ~uint64_t{0};
  });
}

TEST_F(NativeIntegers, Bits) {
  auto near_bits = [](NativeInput& input, std::mt19937_64& random) { input.registers.rbx = random() % 1024 - 512; };
  for (unsigned size : {2u, 4u, 8u}) {
    for (unsigned op = 4; op < 8; ++op) {  // bt, bts, btr, btc
      std::string name = fmt::format("bit op {} {}", op, size);
      host_.compare(name, sized(size, {}, {0x0f, byte(0x83u | op << 3)}, {kAxBx}));
      host_.compare(name + " [rsi], bx", sized(size, {}, {0x0f, byte(0x83u | op << 3)}, {kMemoryBx}), near_bits);
      host_.compare(name + " imm", sized(size, {}, {0x0f, 0xba}, {ax(op), 0x6b}));
      host_.compare(name + " [rsi], imm", sized(size, {}, {0x0f, 0xba}, {memory(op), 0x2d}));
    }
  }
  for (uint8_t opcode : {uint8_t{0xb8}, uint8_t{0xbc}, uint8_t{0xbd}}) {  // popcnt, tzcnt, lzcnt
    for (uint8_t modrm : {kAxBx, kMemoryBx}) {
      host_.compare(fmt::format("f3 0f {:x} 2", opcode), {0x66, 0xf3, 0x0f, opcode, modrm});
      host_.compare(fmt::format("f3 0f {:x} 4", opcode), {0xf3, 0x0f, opcode, modrm});
      host_.compare(fmt::format("f3 0f {:x} 8", opcode), {0xf3, 0x48, 0x0f, opcode, modrm});
    }
  }
  for (uint8_t modrm : {kAxBx, kMemoryBx}) {
    host_.compare("crc32 b", {0xf2, 0x0f, 0x38, 0xf0, modrm});
    host_.compare("crc32 w", {0x66, 0xf2, 0x0f, 0x38, 0xf1, modrm});
    host_.compare("crc32 d", {0xf2, 0x0f, 0x38, 0xf1, modrm});
    host_.compare("crc32 q", {0xf2, 0x48, 0x0f, 0x38, 0xf1, modrm});
    host_.compare("crc32 rbx, b", {0xf2, 0x48, 0x0f, 0x38, 0xf0, modrm});
  }
}

TEST_F(NativeIntegers, BitScans) {
  if (!HostFlags::of_this_host({}).scans)
    GTEST_SKIP() << "this CPU's BSF and BSR keep flags that the model's change (Zen 3)";
  for (unsigned size : {2u, 4u, 8u}) {
    for (uint8_t opcode : {uint8_t{0xbc}, uint8_t{0xbd}}) {
      host_.compare(fmt::format("0f {:x} {}", opcode, size), sized(size, {}, {0x0f, opcode}, {kAxBx}));
      host_.compare(fmt::format("0f {:x} [rsi]", opcode), sized(size, {}, {0x0f, opcode}, {kMemoryBx}));
    }
  }
}

TEST_F(NativeIntegers, StringInstructions) {
  auto prepare = [](NativeInput& input, std::mt19937_64& random) {
    input.registers.rcx = random() % 9;
    input.registers.rsi = 200 + random() % 64;
    input.registers.rdi = 200 + random() % 64;
    if (random() % 2 == 0) input.registers.flags |= 0x400;
    if (random() % 2 == 0) input.memory.fill(0x77);
    if (random() % 2 == 0) input.registers.rax = 0x7777777777777777;
    input.memory[200 + random() % 64] = 1;
  };
  for (unsigned size : {1u, 2u, 4u, 8u}) {
    for (uint8_t opcode : {uint8_t{0xa4}, uint8_t{0xa6}, uint8_t{0xaa}, uint8_t{0xac}, uint8_t{0xae}}) {
      Bytes once = sized(size, {opcode}, {byte(opcode + 1u)}, {});
      host_.compare(fmt::format("string {:x} {}", opcode, size), once, prepare);
      for (uint8_t prefix : {uint8_t{0xf3}, uint8_t{0xf2}}) {
        Bytes repeated{prefix};
        repeated.insert(repeated.end(), once.begin(), once.end());
        if (size == 2) std::swap(repeated[0], repeated[1]);
        host_.compare(fmt::format("{:x} string {:x} {}", prefix, opcode, size), repeated, prepare);
      }
    }
  }
}

TEST(NativeIntegers32, DecimalAdjustments) {
  if (!NativeOracle::host_is_amd()) GTEST_SKIP() << "the host is no AMD CPU: its undefined flags are not the model's";
  NativeComparison host(32);
  for (int repetition = 0; repetition < 10; ++repetition) {
    for (uint8_t opcode : {uint8_t{0x27}, uint8_t{0x2f}, uint8_t{0x37}, uint8_t{0x3f}, uint8_t{0xd6}}) {
      host.compare(fmt::format("{:x}", opcode), {opcode});
    }
    for (uint8_t base : {uint8_t{10}, uint8_t{7}, uint8_t{200}, uint8_t{0}, uint8_t{1}}) {
      host.compare(fmt::format("aam {}", base), {0xd4, base});
      host.compare(fmt::format("aad {}", base), {0xd5, base});
    }
  }
  host.compare("inc eax", {0x40});
  host.compare("dec bx", {0x66, 0x4b});
}

}  // namespace
}  // namespace dejavm::soft
