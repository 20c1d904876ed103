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
  if (decoded.insn.mnemonic == ZYDIS_MNEMONIC_SHLD) {
    insn.run = double_shifter<DoubleLeft>(decoded);
  } else if (decoded.insn.mnemonic == ZYDIS_MNEMONIC_SHRD) {
    insn.run = double_shifter<DoubleRight>(decoded);
  } else {
    return false;
  }
  return true;
}

}  // namespace dejavm::soft
