#include "engine/soft/translate/flag_effects.h"

#include <cpuid.h>

#include <cstring>

#include "engine/soft/flags.h"

namespace dejavm::soft {
namespace {

using Writes = FlagEffect::Writes;
using Reads = FlagEffect::Reads;
using Undefined = FlagEffect::Undefined;

/// Jcc, SETcc, CMOVcc with B or AE (conditions 2 and 3) look at CF alone.
Reads condition_reads(const ZydisDecodedInstruction& insn) { return (insn.opcode & 14) == 2 ? Reads::carry : Reads::any; }

bool count_is_zero(const ZydisDecodedInstruction& insn) {
  unsigned mask = insn.operand_width == 64 ? 63 : 31;
  bool has_immediate = insn.raw.imm[0].size != 0;
  return has_immediate && (insn.raw.imm[0].value.u & mask) == 0;
}

/// By CL, or by an immediate that is zero: perhaps nothing is written.
bool may_keep_flags(const ZydisDecodedInstruction& insn) {
  bool by_cl = insn.opcode_map == ZYDIS_OPCODE_MAP_0F ? (insn.opcode & 1) != 0 : (insn.opcode & 0xfe) == 0xd2;
  return by_cl || count_is_zero(insn);
}

FlagEffect shift(const ZydisDecodedInstruction& insn) {
  return {.writes = may_keep_flags(insn) ? Writes::some : Writes::all, .undefined = Undefined::others};
}

/// The status flags behind an instruction on `value` with these flags before. The red zone below the stack pointer may be in
/// use.
#define DEJAVM_FLAGS_AFTER(instruction)                                                                              \
  [](uint64_t flags, uint64_t value) {                                                                               \
    asm volatile("lea -128(%%rsp), %%rsp\n push %0\n popf\n" instruction "\n pushf\n pop %0\n lea 128(%%rsp), %%rsp" \
                 : "+r"(flags), "+r"(value)                                                                          \
                 :                                                                                                   \
                 : "cc", "memory");                                                                                  \
    return flags & kStatusFlags;                                                                                     \
  }

bool logic_clears_half_carry() {
  auto mask = DEJAVM_FLAGS_AFTER("andl $0xf0, %k1");
  return mask(2 | kAf | kCf | kOf, 0x30) == kPf;
}

bool samples_are_amd() {
  auto shift_left = DEJAVM_FLAGS_AFTER("shll $4, %k1");
  auto shift_right = DEJAVM_FLAGS_AFTER("shrl $4, %k1");
  auto multiply = DEJAVM_FLAGS_AFTER("imull %k1, %k1");
  auto test_bit = DEJAVM_FLAGS_AFTER("btl $4, %k1");
  constexpr uint64_t kKept = kSf | kAf | kPf;
  return shift_left(2, 1) == kAf && shift_right(2, 0x180) == (kAf | kPf) && multiply(2 | kKept, 3) == kKept &&
         test_bit(2 | kKept | kOf, 0) == (kKept | kOf);
}

// AMD's own CPUs differ: Zen 4 has flags of its own, Zen 3 keeps them.

bool scans_set_flags() {
  auto forward = DEJAVM_FLAGS_AFTER("bsfl %k1, %k1");
  auto backward = DEJAVM_FLAGS_AFTER("bsrl %k1, %k1");
  constexpr uint64_t kOthers = kSf | kCf | kOf | kAf;
  auto is_model = [](auto scan) {
    return scan(2 | kOthers, 8) == kPf && scan(2 | kOthers | kPf, 16) == 0 && scan(2 | kOthers, 0) == (kZf | kPf);
  };
  return is_model(forward) && is_model(backward);
}

bool scans_keep_flags() {
  auto forward = DEJAVM_FLAGS_AFTER("bsfl %k1, %k1");
  auto backward = DEJAVM_FLAGS_AFTER("bsrl %k1, %k1");
  constexpr uint64_t kOthers = kSf | kCf | kOf | kAf;
  auto is_model = [](auto scan) {
    return scan(2 | kOthers, 8) == kOthers && scan(2 | kPf | kZf, 16) == kPf && scan(2 | kOthers, 0) == (kOthers | kZf);
  };
  return is_model(forward) && is_model(backward);
}

bool is_amd() {
  unsigned highest = 0, vendor[3] = {};
  if (__get_cpuid(0, &highest, &vendor[0], &vendor[2], &vendor[1]) == 0) return false;
  return std::memcmp(vendor, "AuthenticAMD", 12) == 0;
}
#undef DEJAVM_FLAGS_AFTER

/// Shifts, rotates, multiplications and single bits.
std::optional<FlagEffect> bits_effect(const ZydisDecodedInstruction& insn) {
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
      return FlagEffect{.writes = Writes::all, .undefined = Undefined::scan};
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
      return shift(insn);
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_MUL:
    case ZYDIS_MNEMONIC_IMUL:
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
      return FlagEffect{.writes = Writes::some, .undefined = Undefined::others};
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
      return FlagEffect{.writes = Writes::some, .reads = Reads::any, .undefined = Undefined::others};
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<FlagEffect> flag_effect(const ZydisDecodedInstruction& insn) {
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
    case ZYDIS_MNEMONIC_MOVNTI:
    case ZYDIS_MNEMONIC_NOT:
    case ZYDIS_MNEMONIC_BSWAP:
    case ZYDIS_MNEMONIC_CBW:
    case ZYDIS_MNEMONIC_CWDE:
    case ZYDIS_MNEMONIC_CDQE:
    case ZYDIS_MNEMONIC_CWD:
    case ZYDIS_MNEMONIC_CDQ:
    case ZYDIS_MNEMONIC_CQO:
    case ZYDIS_MNEMONIC_XCHG:
      return FlagEffect{};
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_NEG:
    case ZYDIS_MNEMONIC_XADD:
    case ZYDIS_MNEMONIC_CMPXCHG:
      return FlagEffect{.writes = Writes::all};
    case ZYDIS_MNEMONIC_POPCNT:
      if (__builtin_cpu_supports("popcnt") == 0) return std::nullopt;
      return FlagEffect{.writes = Writes::all};
    case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_SBB:
      return FlagEffect{.writes = Writes::all, .reads = Reads::carry};
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_TEST:
      return FlagEffect{.writes = Writes::all, .undefined = Undefined::half_carry};
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
      return FlagEffect{.writes = Writes::some, .keeps_carry_only = true};
    case ZYDIS_MNEMONIC_CLC:
    case ZYDIS_MNEMONIC_STC:
      return FlagEffect{.writes = Writes::some};
    case ZYDIS_MNEMONIC_CMC:
      return FlagEffect{.writes = Writes::some, .reads = Reads::any};
    default:
      break;
  }
  if (insn.meta.category == ZYDIS_CATEGORY_SETCC || insn.meta.category == ZYDIS_CATEGORY_CMOV) {
    return FlagEffect{.reads = condition_reads(insn)};
  }
  return bits_effect(insn);
}

HostFlags HostFlags::of_this_host(const Features& features) {
  bool half_carry = logic_clears_half_carry();
  bool others = half_carry && is_amd() && samples_are_amd() && !features.tcg;
  return {half_carry, others, others && (features.scans_keep_flags ? scans_keep_flags() : scans_set_flags())};
}

}  // namespace dejavm::soft
