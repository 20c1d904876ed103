// Shifts and rotates of one operand (AMD64 APM volume 3); flags beyond the defined ones by undefined_flags.h.
#include "engine/soft/arithmetic.h"
#include "engine/soft/integer_rooms.h"
#include "engine/soft/operand_forms.h"
#include "engine/soft/undefined_flags.h"

namespace dejavm::soft {
namespace {

template <typename T>
constexpr unsigned kCountMask = sizeof(T) == 8 ? 63 : 31;

constexpr uint64_t carry_if(bool set) { return set ? kCf : 0; }
/// OF after moving to the left, and to the right.
template <typename T>
uint64_t left_overflow(T result, bool carry) {
  return (top_bit(result) ^ uint64_t{carry}) << 11;
}
template <typename T>
uint64_t right_overflow(T result) {
  return (top_bit(result) ^ top_bit(static_cast<T>(result << 1))) << 11;
}

// Each takes a masked count that is not 0 and the flags before; the Outcome has all status flags.

struct ShiftLeft {
  template <typename T>
  static Outcome<T> apply(T value, unsigned count, uint64_t) {
    constexpr unsigned kWidth = kBits<T>;
    T result = count < kWidth ? static_cast<T>(value << count) : T{0};
    bool carry = count <= kWidth && (value >> (kWidth - count) & 1) != 0;
    return {result, result_flags(result) | kShiftAf | carry_if(carry) | left_overflow(result, carry)};
  }
};
struct ShiftRight {
  template <typename T>
  static Outcome<T> apply(T value, unsigned count, uint64_t) {
    constexpr unsigned kWidth = kBits<T>;
    T result = count < kWidth ? static_cast<T>(value >> count) : T{0};
    bool carry = count <= kWidth && (value >> (count - 1) & 1) != 0;
    return {result, result_flags(result) | kShiftAf | carry_if(carry) | right_overflow(result)};
  }
};
struct ShiftArithmetic {
  template <typename T>
  static Outcome<T> apply(T value, unsigned count, uint64_t) {
    using Signed = std::make_signed_t<T>;
    unsigned last = count < kBits<T> ? count - 1 : kBits<T> - 1;
    T before_last = static_cast<T>(static_cast<Signed>(value) >> last);
    T result = static_cast<T>(static_cast<Signed>(before_last) >> 1);
    return {result, result_flags(result) | kShiftAf | carry_if((before_last & 1) != 0)};
  }
};

struct RotateLeft {
  template <typename T>
  static Outcome<T> apply(T value, unsigned count, uint64_t flags) {
    constexpr unsigned kWidth = kBits<T>;
    unsigned by = count % kWidth;
    T result = by == 0 ? value : static_cast<T>(value << by | value >> (kWidth - by));
    bool carry = (result & 1) != 0;
    return {result, (flags & ~(kCf | kOf)) | carry_if(carry) | left_overflow(result, carry)};
  }
};
struct RotateRight {
  template <typename T>
  static Outcome<T> apply(T value, unsigned count, uint64_t flags) {
    constexpr unsigned kWidth = kBits<T>;
    unsigned by = count % kWidth;
    T result = by == 0 ? value : static_cast<T>(value >> by | value << (kWidth - by));
    return {result, (flags & ~(kCf | kOf)) | top_bit(result) | right_overflow(result)};
  }
};
struct RotateCarryLeft {
  template <typename T>
  static Outcome<T> apply(T value, unsigned count, uint64_t flags) {
    bool carry = (flags & kCf) != 0;
    for (unsigned left = count % (kBits<T> + 1); left > 0; --left) {
      bool out = top_bit(value) != 0;
      value = static_cast<T>(value << 1 | static_cast<T>(carry));
      carry = out;
    }
    return {value, (flags & ~(kCf | kOf)) | carry_if(carry) | left_overflow(value, carry)};
  }
};
struct RotateCarryRight {
  template <typename T>
  static Outcome<T> apply(T value, unsigned count, uint64_t flags) {
    bool carry = (flags & kCf) != 0;
    for (unsigned left = count % (kBits<T> + 1); left > 0; --left) {
      bool out = (value & 1) != 0;
      value = static_cast<T>(value >> 1 | static_cast<T>(T{carry} << (kBits<T> - 1)));
      carry = out;
    }
    return {value, (flags & ~(kCf | kOf)) | carry_if(carry) | right_overflow(value)};
  }
};

// What CpuKind::tcg has of its own (tcg_flags.h).

template <typename Op>
struct WithoutHalfCarry {
  template <typename T>
  static Outcome<T> apply(T value, unsigned count, uint64_t flags) {
    Outcome<T> result = Op::template apply<T>(value, count, flags);
    return {result.value, result.flags & ~kAf};
  }
};
/// Through the carry all the way round nothing happens; OF tells whether the sign has changed.
template <typename Op>
struct RotateCarryOfTcg {
  template <typename T>
  static Outcome<T> apply(T value, unsigned count, uint64_t flags) {
    if (count % (kBits<T> + 1) == 0) return {value, flags};
    Outcome<T> result = Op::template apply<T>(value, count, flags);
    return {result.value, (result.flags & ~kOf) | top_bit(static_cast<T>(value ^ result.value)) << 11};
  }
};

/// A count of 0 writes the operand back as it is: devices see it, and a 32-bit register loses its upper half.
template <typename Op, typename T, bool memory, bool by_cl>
void shift(Core& core, const Instruction& insn) {
  uint64_t amount = by_cl ? core.cpu.gpr[vm::rcx] : insn.immediate;
  unsigned count = static_cast<unsigned>(amount) & kCountMask<T>;
  Target<T, memory> target(core, insn);
  T value = target.read();
  Outcome<T> result = count == 0 ? Outcome<T>{value, core.cpu.rflags} : Op::template apply<T>(value, count, core.cpu.rflags);
  target.write(result.value);
  set_flags(core, result.flags);
}

template <typename Op>
Handler shifter(const Decoded& decoded) {
  return by_size(decoded.size(0), [&](auto type) -> Handler {
    using T = decltype(type);
    if (decoded.is_immediate(1)) return decoded.is_memory(0) ? shift<Op, T, true, false> : shift<Op, T, false, false>;
    return decoded.is_memory(0) ? shift<Op, T, true, true> : shift<Op, T, false, true>;
  });
}

}  // namespace

bool bind_shift(const Decoded& decoded, Instruction& insn) {
  bool tcg = decoded.features.tcg;
  switch (decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_SHL:
      insn.run = tcg ? shifter<WithoutHalfCarry<ShiftLeft>>(decoded) : shifter<ShiftLeft>(decoded);
      return true;
    case ZYDIS_MNEMONIC_SHR:
      insn.run = tcg ? shifter<WithoutHalfCarry<ShiftRight>>(decoded) : shifter<ShiftRight>(decoded);
      return true;
    case ZYDIS_MNEMONIC_SAR:
      insn.run = tcg ? shifter<WithoutHalfCarry<ShiftArithmetic>>(decoded) : shifter<ShiftArithmetic>(decoded);
      return true;
    case ZYDIS_MNEMONIC_ROL:
      insn.run = shifter<RotateLeft>(decoded);
      return true;
    case ZYDIS_MNEMONIC_ROR:
      insn.run = shifter<RotateRight>(decoded);
      return true;
    case ZYDIS_MNEMONIC_RCL:
      insn.run = tcg ? shifter<RotateCarryOfTcg<RotateCarryLeft>>(decoded) : shifter<RotateCarryLeft>(decoded);
      return true;
    case ZYDIS_MNEMONIC_RCR:
      insn.run = tcg ? shifter<RotateCarryOfTcg<RotateCarryRight>>(decoded) : shifter<RotateCarryRight>(decoded);
      return true;
    default:
      return false;
  }
}

}  // namespace dejavm::soft
