// x87, MMX and SSE instructions in the soft engine against the host, with random registers, rounding modes and masks.
#include <Zydis/Zydis.h>
#include <cpuid.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "engine/soft/decode.h"
#include "engine/soft/flags.h"
#include "soft_fixture.h"
#include "vector_oracle.h"
#include "vector_probe.h"

namespace dejavm::soft {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint64_t kSimdHandler = 0x9100, kPlainHandler = kHandler;

vm::CpuModel model_with_sse4() {
  vm::CpuModel model = vm::dejavm64_v1();
  for (vm::CpuidLeaf& leaf : model.cpuid) {
    if (leaf.function == 1) leaf.ecx |= 1u << 0 | 1u << 9 | 1u << 19 | 1u << 20;
  }
  model.cpuid.push_back({.function = 7, .indexed = true, .ebx = 1u << 29});  // SHA
  return model;
}

class VectorNativeTest : public testing::Test {
 protected:
  VectorNativeTest() {
    guest_.long_mode();
    guest_.poke(kIdt + 16 * kSimdFault, kSimdHandler | uint64_t{kCode64} << 16 | uint64_t{0x8e} << 40);
    start_ = guest_.cpu();
  }

  uint64_t random_double() {
    static constexpr uint64_t kSpecial[] = {0,
                                            0x8000000000000000,
                                            0x7ff0000000000000,
                                            0xfff0000000000000,
                                            0x7ff8000000000001,
                                            0x7ff0000000000001,
                                            1,
                                            0x800fffffffffffff,
                                            0x0010000000000000,
                                            0x7fefffffffffffff,
                                            0x3ff0000000000000,
                                            0xc000000000000000,
                                            0x41dfffffffc00000,
                                            0x47f0000000000000};
    return random_() % 3 == 0 ? kSpecial[random_() % std::size(kSpecial)] : random_();
  }
  uint32_t random_single() {
    static constexpr uint32_t kSpecial[] = {0,          0x80000000, 0x7f800000, 0xff800000, 0x7fc00001,
                                            0x7f800001, 1,          0x807fffff, 0x00800000, 0x7f7fffff,
                                            0x3f800000, 0xc0000000, 0x4effffff, 0x20000000};
    return random_() % 3 == 0 ? kSpecial[random_() % std::size(kSpecial)] : static_cast<uint32_t>(random_());
  }
  template <size_t N>
  void fill(std::array<uint8_t, N>& bytes) {
    bool doubles = random_() % 2 == 0;
    for (size_t i = 0; i < N; i += 8) {
      uint64_t value = doubles ? random_double() : random_single() | uint64_t{random_single()} << 32;
      std::memcpy(bytes.data() + i, &value, 8);
    }
  }
  /// An 80-bit number, often a special one.
  void fill_extended(std::array<uint8_t, 16>& bytes) {
    static constexpr uint16_t kExponents[] = {0, 0x7fff, 0x3fff, 1, 0x7ffe, 0x403e, 0x400d, 0x3f80};
    bytes.fill(0);
    uint64_t fraction = random_() % 4 == 0 ? uint64_t{1} << 63 : random_() % 8 == 0 ? 0 : random_() | uint64_t{1} << 63;
    uint16_t exponent = random_() % 2 == 0 ? kExponents[random_() % 8] : static_cast<uint16_t>(0x3fe0 + random_() % 64);
    if (exponent == 0 && random_() % 2 == 0) fraction &= ~(uint64_t{1} << 63);
    exponent = static_cast<uint16_t>(exponent | (random_() & 0x8000));
    std::memcpy(bytes.data(), &fraction, 8);
    std::memcpy(bytes.data() + 8, &exponent, 2);
  }
  VectorState random_state(bool unmasked) {
    VectorState state;
    for (auto& xmm : state.fpu.xmm) fill(xmm);
    for (auto& st : state.fpu.st) fill_extended(st);
    fill(state.memory);
    state.fpu.fsw = static_cast<uint16_t>(random_() & 0x7f00);
    state.fpu.ftw = static_cast<uint8_t>(random_() | random_());
    state.fpu.mxcsr = static_cast<uint32_t>((random_() & 0xe040) | 0x1f80);
    state.fpu.fcw = static_cast<uint16_t>(0x7f | (random_() & 0xf00));
    if ((state.fpu.fcw & 0x300) == 0x100) state.fpu.fcw |= 0x300;  // that precision is reserved
    if (unmasked) {
      state.fpu.mxcsr &= static_cast<uint32_t>(~(random_() & 0x1f80));
      state.fpu.fcw &= static_cast<uint16_t>(~(random_() & 0x3f));
    }
    state.rax = random_() % 2 == 0 ? random_() : random_() % 16;
    state.flags = 2 | (random_() & kStatusFlags);
    return state;
  }

  /// Bytes of few values, so that strings of them often hold zeros and each other.
  template <size_t N>
  void fill_with_text(std::array<uint8_t, N>& bytes) {
    static constexpr uint8_t kLetters[] = {0, 1, 2, 0x7f, 0x80, 0xff};
    uint64_t letters = 1 + random_() % std::size(kLetters);
    bool words = random_() % 2 == 0;
    for (size_t i = 0; i < N; ++i) bytes[i] = words && i % 2 == 1 ? 0 : kLetters[random_() % letters];
    if (random_() % 2 == 0) std::ranges::replace(bytes, uint8_t{0}, uint8_t{1});
  }

  VectorOracle::Outcome run_soft(const Bytes& instructions, VectorState& state, int steps = 1) {
    vm::CpuState cpu = start_;
    cpu.fpu = state.fpu;
    cpu.rflags = state.flags;
    cpu.gpr[vm::rax] = state.rax;
    cpu.gpr[vm::rsi] = kData;
    guest_.core().set_state(cpu);
    guest_.code(instructions);
    guest_.code(Bytes(state.memory.begin(), state.memory.end()), kData);
    for (int i = 0; i < steps; ++i) EXPECT_TRUE(std::holds_alternative<vm::Stepped>(guest_.step()));
    state.fpu = guest_.cpu().fpu;
    if (guest_.cpu().rip == kSimdHandler) return VectorOracle::Outcome::simd_fault;
    if (guest_.cpu().rip == kPlainHandler) return VectorOracle::Outcome::other_fault;
    state.rax = guest_.gpr(vm::rax);
    state.flags = guest_.cpu().rflags;
    EXPECT_TRUE(guest_.memory().read({kData}, state.memory));
    return VectorOracle::Outcome::completed;
  }

  static std::string difference(const VectorState& soft, const VectorState& native) {
    vm::CpuState left, right;
    left.fpu = soft.fpu;
    right.fpu = native.fpu;
    left.fpu.last_ip = left.fpu.last_dp = left.fpu.last_opcode = 0;
    std::string text = vm::difference(right, left);
    if (soft.rax != native.rax) text += fmt::format(" rax {:#x} != {:#x}", native.rax, soft.rax);
    if (((soft.flags ^ native.flags) & kStatusFlags) != 0)
      text += fmt::format(" flags {:#x} != {:#x}", native.flags, soft.flags);
    if (soft.memory != native.memory) text += " memory";
    return text;
  }

  /// False at the first difference.
  bool agrees(const Bytes& instruction, bool unmasked, int times) {
    for (int i = 0; i < times; ++i) {
      VectorState before = random_state(unmasked);
      VectorState native = before;
      VectorState soft = before;
      auto expected = oracle_.run(instruction, native);
      auto actual = run_soft(instruction, soft);
      // Whether a result that overflowed or underflowed into a fault was exact too is not computed (vector_ops.cpp).
      constexpr uint32_t kOverflowOrUnderflow = 0x18, kInexact = 0x20;
      if (expected == VectorOracle::Outcome::simd_fault && (native.fpu.mxcsr & kOverflowOrUnderflow) != 0) {
        soft.fpu.mxcsr = (soft.fpu.mxcsr & ~kInexact) | (native.fpu.mxcsr & kInexact);
      }
      if (expected == VectorOracle::Outcome::simd_fault) {  // of a fault, the oracle sees MXCSR; tests/differential the rest
        soft.fpu.st = native.fpu.st;
        soft.fpu.ftw = native.fpu.ftw;
        soft.fpu.fsw = native.fpu.fsw;
      }
      std::string text = difference(soft, native);
      if (expected == actual && text.empty()) continue;
      ADD_FAILURE() << name(instruction) << ": outcome " << static_cast<int>(expected) << " and " << static_cast<int>(actual)
                    << ", host != soft: " << text
                    << fmt::format(" (mxcsr {:#x}, fcw {:#x} fsw {:#x} before)", before.fpu.mxcsr, before.fpu.fcw,
                                   before.fpu.fsw);
      return false;
    }
    return true;
  }

  /// Nullopt also for instructions with other general registers than RAX, which the oracle does not set.
  static std::optional<ZydisDecodedInstruction> decode(const Bytes& bytes) {
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(), &insn, operands))) return std::nullopt;
    for (unsigned i = 0; i < insn.operand_count_visible; ++i) {
      if (operands[i].type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
      uint8_t number = general_register(operands[i].reg.value);
      if (number != kNoRegister && number != vm::rax) return std::nullopt;
    }
    return insn;
  }
  static std::string name(const Bytes& bytes) {
    auto insn = decode(bytes);
    return fmt::format("{} ({:02x})", insn ? ZydisMnemonicGetString(insn->mnemonic) : "?", fmt::join(bytes, " "));
  }

  std::mt19937_64 random_{20260117};
  SoftGuest guest_{model_with_sse4()};
  vm::CpuState start_;
  VectorOracle oracle_;
};

bool host_has_sha() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx >> 29 & 1) != 0;
}

bool is_vector_set(ZydisISASet set) {
  switch (set) {
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSE2:
    case ZYDIS_ISA_SET_SSE2MMX:
    case ZYDIS_ISA_SET_PENTIUMMMX:
    case ZYDIS_ISA_SET_SSE3:
    case ZYDIS_ISA_SET_SSSE3:
    case ZYDIS_ISA_SET_SSSE3MMX:
    case ZYDIS_ISA_SET_SSE4:
    case ZYDIS_ISA_SET_SSE42:
      return true;
    default:
      return false;
  }
}

/// Not compared here: the masked stores (they use RDI), MOVNTI's register, what has a test of its own below.
bool is_left_out(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_PCMPESTRI:
    case ZYDIS_MNEMONIC_PCMPESTRM:
    case ZYDIS_MNEMONIC_PCMPISTRI:
    case ZYDIS_MNEMONIC_PCMPISTRM:
    case ZYDIS_MNEMONIC_CRC32:
      return true;
    default:
      return false;
  }
}

/// Which flags a dot product that faults sets besides depends on the order of its steps.
bool is_dot_product(ZydisMnemonic mnemonic) { return mnemonic == ZYDIS_MNEMONIC_DPPS || mnemonic == ZYDIS_MNEMONIC_DPPD; }

/// Every encoding of the three opcode maps whose operands are XMM1/MM1/RAX with XMM2/MM2/RAX or [RSI].
std::vector<Bytes> vector_instructions(int map) {
  std::vector<Bytes> result;
  for (int prefix : {0, 0x66, 0xf3, 0xf2}) {
    for (int rex : {0, 0x48}) {
      for (int opcode = 0; opcode < 0x100; ++opcode) {
        if (map == 0 && (opcode < 0x10 || opcode == 0x38 || opcode == 0x3a)) continue;  // system, other maps
        for (int modrm : {0xca, 0xc8, 0xc1, 0x0e, 0x06, 0xd1, 0xe1, 0xf1, 0xd9, 0xf9}) {
          bool shifts = map == 0 && opcode >= 0x71 && opcode <= 0x73;  // the register field is part of the opcode
          if ((modrm > 0xd0) != shifts) continue;
          Bytes bytes;
          if (prefix != 0) bytes.push_back(static_cast<uint8_t>(prefix));
          if (rex != 0) bytes.push_back(static_cast<uint8_t>(rex));
          bytes.push_back(0x0f);
          if (map != 0) bytes.push_back(static_cast<uint8_t>(map));
          bytes.push_back(static_cast<uint8_t>(opcode));
          bytes.push_back(static_cast<uint8_t>(modrm));
          bytes.push_back(0x1b);  // an immediate, where there is one
          result.push_back(bytes);
        }
      }
    }
  }
  return result;
}

class VectorMapTest : public VectorNativeTest, public testing::WithParamInterface<int> {};

TEST_P(VectorMapTest, EveryInstructionDoesWhatTheHostDoes) {
  int compared = 0;
  for (Bytes& bytes : vector_instructions(GetParam())) {
    auto insn = decode(bytes);
    if (!insn || !is_vector_set(insn->meta.isa_set) || is_left_out(insn->mnemonic)) continue;
    if (insn->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || insn->operand_count_visible < 2) continue;
    bytes.resize(insn->length);
    if (agrees(bytes, false, 12) && (is_dot_product(insn->mnemonic) || agrees(bytes, true, 40))) ++compared;
  }
  EXPECT_GT(compared, GetParam() == 0 ? 400 : 80);
}

INSTANTIATE_TEST_SUITE_P(Maps, VectorMapTest, testing::Values(0, 0x38, 0x3a));

TEST_F(VectorNativeTest, EveryX87InstructionDoesWhatTheHostDoes) {
  int compared = 0;
  for (int opcode = 0xd8; opcode <= 0xdf; ++opcode) {
    for (int modrm = 0; modrm < 0x100; ++modrm) {
      if (modrm < 0xc0 && (modrm & 0xc7) != 0x06) continue;  // [rsi]
      Bytes bytes{static_cast<uint8_t>(opcode), static_cast<uint8_t>(modrm)};
      auto insn = decode(bytes);
      bool image = modrm < 0xc0 && insn &&
                   (insn->mnemonic == ZYDIS_MNEMONIC_FLDENV || insn->mnemonic == ZYDIS_MNEMONIC_FNSTENV ||
                    insn->mnemonic == ZYDIS_MNEMONIC_FNSAVE || insn->mnemonic == ZYDIS_MNEMONIC_FRSTOR);
      if (!insn || image) continue;
      if (agrees(bytes, false, 60) && agrees(bytes, true, 120)) ++compared;
    }
  }
  EXPECT_GT(compared, 300);
}

class PackedCompareTest : public VectorNativeTest, public testing::WithParamInterface<int> {
 protected:
  /// For RAX, of which RDX gets the halves the other way round: two lengths of 32 bits, or one of 64 and a huge one.
  uint64_t lengths() {
    uint64_t one = random_() % 40 - 20, other = random_() % 40 - 20;
    switch (random_() % 3) {
      case 0:
        return one;
      case 1:
        return one << 32 | one >> 32;
      default:
        return one << 32 | (other & 0xffffffff);
    }
  }
  /// The instruction, and how many it takes with what sets its lengths and brings its index to RAX.
  static std::pair<Bytes, int> program(int opcode, int immediate, bool wide, bool memory) {
    Bytes code{0x48, 0x89, 0xc2, 0x48, 0xc1, 0xca, 0x20};  // mov rdx, rax; ror rdx, 32
    code.push_back(0x66);
    if (wide) code.push_back(0x48);
    for (int byte : {0x0f, 0x3a, opcode, memory ? 0x0e : 0xca, immediate}) code.push_back(static_cast<uint8_t>(byte));
    bool gives_index = (opcode & 1) != 0;
    if (gives_index) code.insert(code.end(), {0x48, 0x89, 0xc8});  // mov rax, rcx
    return {code, gives_index ? 4 : 3};
  }
};

TEST_P(PackedCompareTest, DoesWhatTheHostDoesForEveryImmediate) {
  for (int i = 0; i < 0x100 * 60; ++i) {
    auto [code, steps] = program(GetParam(), i % 0x100, i % 3 == 0, i % 5 == 0);
    VectorState native = random_state(false);
    fill_with_text(native.fpu.xmm[1]);
    fill_with_text(native.fpu.xmm[2]);
    fill_with_text(native.memory);
    if (i % 8 != 0) native.rax = lengths();
    VectorState soft = native;

    ASSERT_EQ(oracle_.run(code, native), VectorOracle::Outcome::completed);
    ASSERT_EQ(run_soft(code, soft, steps), VectorOracle::Outcome::completed);

    ASSERT_EQ(difference(soft, native), "") << fmt::format("{:02x}", fmt::join(code, " "));
  }
}

// PCMPESTRM, PCMPESTRI, PCMPISTRM, PCMPISTRI
INSTANTIATE_TEST_SUITE_P(Opcodes, PackedCompareTest, testing::Values(0x60, 0x61, 0x62, 0x63));

TEST_F(VectorNativeTest, TheShaInstructionsDoWhatTheHostDoes) {
  if (__builtin_cpu_supports("sse4.2") == 0 || !host_has_sha()) GTEST_SKIP() << "this host's CPU has no SHA instructions";
  for (int opcode : {0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd}) {
    for (int modrm : {0xca, 0x0e}) {
      EXPECT_TRUE(agrees({0x0f, 0x38, static_cast<uint8_t>(opcode), static_cast<uint8_t>(modrm)}, false, 100));
    }
  }
  for (uint8_t rounds = 0; rounds < 4; ++rounds) EXPECT_TRUE(agrees({0x0f, 0x3a, 0xcc, 0xca, rounds}, false, 100));
}

TEST_F(VectorNativeTest, StringComparesTakeOperandsAtAnyAddress) {
  vm::CpuState cpu = start_;
  cpu.gpr[vm::rsi] = kData + 3;
  cpu.fpu.xmm[1].fill(7);
  guest_.core().set_state(cpu);
  guest_.poke(kData + 3 + 5, 7, 1);

  guest_.code({0x66, 0x0f, 0x3a, 0x61, 0x0e, 0x08});  // pcmpestri xmm1, [rsi], equal each: of no elements
  guest_.step();

  EXPECT_EQ(guest_.cpu().rip, kCode + 6);
  EXPECT_EQ(guest_.gpr(vm::rcx), 0u);
}

TEST(MaskedStores, FaultForBytesThatAreNotStored) {
  VectorProbe probe;
  SoftGuest& guest = probe.guest();
  guest.gpr(vm::rdi) = kRamSize - 4;  // the next page is not mapped

  EXPECT_EQ(probe.vector_of({0x66, 0x0f, 0xf7, 0xc1}), kPageFault);  // maskmovdqu xmm0, xmm1
  EXPECT_EQ(guest.cpu().cr2, kRamSize);
}

TEST(MaskedStores, EnterMmxModeAlsoWhenTheyFault) {
  VectorProbe probe;
  SoftGuest& guest = probe.guest();
  guest.gpr(vm::rdi) = kRamSize - 4;
  guest.cpu().fpu.fsw = 3 << 11;

  EXPECT_EQ(probe.vector_of({0x0f, 0xf7, 0xc1}), kPageFault);  // maskmovq mm0, mm1
  EXPECT_EQ(guest.cpu().fpu.fsw, 0);
  EXPECT_EQ(guest.cpu().fpu.ftw, 0xff);
}

}  // namespace
}  // namespace dejavm::soft
