// SHLD and SHRD (AMD64 APM volume 3); what is undefined by undefined_flags.h.
#include <bit>

#include "engine/soft/arithmetic.h"
#include "engine/soft/integer_rooms.h"
#include "engine/soft/operand_forms.h"
#include "engine/soft/undefined_flags.h"

namespace dejavm::soft {
namespace {

struct DoubleLeft {
  template <typename T>
  static Outcome<T> apply(T value, T fill, unsigned count) {
    constexpr unsigned kWidth = kBits<T>;
    T result = 0, plain = 0;
    if (count < kWidth) {
      plain = static_cast<T>(value << count);
      result = static_cast<T>(plain | fill >> (kWidth - count));
    } else {
      result = std::rotl(fill, static_cast<int>(count - kWidth));
    }
    uint64_t carry = count <= kWidth ? static_cast<uint64_t>(value >> (kWidth - count) & 1) : 0;
    return {result, result_flags(result) | kShiftAf | carry | (carry ^ top_bit(plain)) << 11};
  }
};
struct DoubleRight {
  template <typename T>
  static Outcome<T> apply(T value, T fill, unsigned count) {
    constexpr unsigned kWidth = kBits<T>;
    T result = count < kWidth ? static_cast<T>(value >> count | fill << (kWidth - count))
                              : std::rotr(fill, static_cast<int>(count - kWidth));
    uint64_t carry = count <= kWidth ? static_cast<uint64_t>(value >> (count - 1) & 1) : 0;
    uint64_t overflow = top_bit(result) ^ top_bit(static_cast<T>(result << 1));
    return {result, result_flags(result) | kShiftAf | carry | overflow << 11};
  }
};

/// As CpuKind::tcg has it: the flags of the last of `count` shifts by one; 16 bits beyond the width take from the first
/// operand again (tcg_flags.h).
template <bool left>
struct DoubleOfTcg {
  template <typename T>
  static Outcome<T> apply(T value, T fill, unsigned count) {
    constexpr unsigned kWidth = kBits<T>;
    T result = moved(value, fill, count), before_last = count == 1 ? value : moved(value, fill, count - 1);
    uint64_t carry = left ? top_bit(before_last) : static_cast<uint64_t>(before_last & 1);
    // Of 64 bits only the first operand counts as moved so far.
    if constexpr (kWidth == 64) before_last = left ? value << (count - 1) : value >> (count - 1);
    return {result, result_flags(result) | carry | top_bit(static_cast<T>(before_last ^ result)) << 11};
  }

 private:
  template <typename T>
  static T moved(T value, T fill, unsigned count) {
    constexpr unsigned kWidth = kBits<T>;
    if (count < kWidth) {
      return left ? static_cast<T>(value << count | fill >> (kWidth - count))
                  : static_cast<T>(value >> count | fill << (kWidth - count));
    }
    unsigned beyond = count - kWidth;  // of 16 bits only
    uint32_t wide = left ? uint32_t{static_cast<uint16_t>(fill)} << 16 | static_cast<uint16_t>(value)
                         : uint32_t{static_cast<uint16_t>(value)} << 16 | static_cast<uint16_t>(fill);
    return static_cast<T>(left ? wide << beyond >> 16 : wide >> beyond);
  }
};

template <typename Op, typename T, bool memory, bool by_cl>
void double_shift(Core& core, const Instruction& insn) {
  uint64_t amount = by_cl ? core.cpu.gpr[vm::rcx] : insn.immediate;
  unsigned count = static_cast<unsigned>(amount) & (sizeof(T) == 8 ? 63 : 31);
  T fill = read_register<T>(core, memory ? insn.reg : insn.other);
  Target<T, memory> target(core, insn);
  T value = target.read();
  Outcome<T> result = count == 0 ? Outcome<T>{value, core.cpu.rflags} : Op::template apply<T>(value, fill, count);
  target.write(result.value);
  set_flags(core, result.flags);
}

template <typename Op>
Handler double_shifter(const Decoded& decoded) {
  return by_word_size(decoded.size(0), [&](auto type) -> Handler {
    using T = decltype(type);
    if (decoded.is_immediate(2)) {
      return decoded.is_memory(0) ? double_shift<Op, T, true, false> : double_shift<Op, T, false, false>;
    }
    return decoded.is_memory(0) ? double_shift<Op, T, true, true> : double_shift<Op, T, false, true>;
  });
}

}  // namespace

bool bind_double_shift(const Decoded& decoded, Instruction& insn) {
  bool tcg = decoded.features.tcg;
  if (decoded.insn.mnemonic == ZYDIS_MNEMONIC_SHLD) {
    insn.run = tcg ? double_shifter<DoubleOfTcg<true>>(decoded) : double_shifter<DoubleLeft>(decoded);
  } else if (decoded.insn.mnemonic == ZYDIS_MNEMONIC_SHRD) {
    insn.run = tcg ? double_shifter<DoubleOfTcg<false>>(decoded) : double_shifter<DoubleRight>(decoded);
  } else {
    return false;
  }
  return true;
}

}  // namespace dejavm::soft
