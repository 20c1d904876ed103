// MUL, IMUL, DIV, IDIV (AMD64 APM volume 3); what is undefined by undefined_flags.h.
#include <limits>

#include "engine/soft/arithmetic.h"
#include "engine/soft/integer_rooms.h"
#include "engine/soft/operand_forms.h"
#include "engine/soft/undefined_flags.h"

namespace dejavm::soft {
namespace {

// Twice as wide, for a product or a dividend.
__extension__ typedef unsigned __int128 Unsigned128;
__extension__ typedef __int128 Signed128;
template <typename T>
struct Wide;
template <>
struct Wide<uint8_t> {
  using Unsigned = uint16_t;
  using Signed = int16_t;
};
template <>
struct Wide<uint16_t> {
  using Unsigned = uint32_t;
  using Signed = int32_t;
};
template <>
struct Wide<uint32_t> {
  using Unsigned = uint64_t;
  using Signed = int64_t;
};
template <>
struct Wide<uint64_t> {
  using Unsigned = Unsigned128;
  using Signed = Signed128;
};
template <typename T>
using Double = typename Wide<T>::Unsigned;
template <typename T>
using SignedDouble = typename Wide<T>::Signed;

/// `low`: the product as far as its operands' size holds it.
template <typename T>
void set_multiply_flags(Core& core, T low, bool lost_bits) {
  uint64_t lost = lost_bits ? kCf | kOf : 0;
  if (core.features.tcg) {
    set_flags(core, result_flags(low) | lost);
  } else {
    set_flags(core, lost, kMultiplyChanges);
  }
}
void set_divide_flags(Core& core) {
  if (!core.features.tcg) set_flags(core, kDivideFlags, kDivideChanges);
}

/// AX, DX:AX, EDX:EAX or RDX:RAX.
template <typename T>
Double<T> read_pair(const Core& core) {
  if constexpr (sizeof(T) == 1) {
    return read_register<uint16_t>(core, vm::rax);
  } else {
    return static_cast<Double<T>>(static_cast<Double<T>>(read_register<T>(core, vm::rdx)) << kBits<T> |
                                  read_register<T>(core, vm::rax));
  }
}
template <typename T>
void write_pair(Core& core, T high, T low) {
  write_register<T>(core, vm::rax, low);
  write_register<T>(core, sizeof(T) == 1 ? uint8_t{kHighByte + vm::rax} : uint8_t{vm::rdx}, high);
}

template <typename T, bool memory>
void multiply(Core& core, const Instruction& insn) {
  Double<T> factor = read_first<T, memory>(core, insn);
  Double<T> product = static_cast<Double<T>>(factor * read_register<T>(core, vm::rax));
  T high = static_cast<T>(product >> kBits<T>);
  write_pair<T>(core, high, static_cast<T>(product));
  set_multiply_flags(core, static_cast<T>(product), high != 0);
}

template <typename T>
SignedDouble<T> signed_product(T a, T b) {
  using Signed = std::make_signed_t<T>;
  return static_cast<SignedDouble<T>>(static_cast<SignedDouble<T>>(static_cast<Signed>(a)) * static_cast<Signed>(b));
}
template <typename T>
bool fits(SignedDouble<T> product) {
  return product == static_cast<std::make_signed_t<T>>(product);
}

template <typename T, bool memory>
void multiply_signed(Core& core, const Instruction& insn) {
  SignedDouble<T> product = signed_product<T>(read_first<T, memory>(core, insn), read_register<T>(core, vm::rax));
  write_pair<T>(core, static_cast<T>(product >> kBits<T>), static_cast<T>(product));
  set_multiply_flags(core, static_cast<T>(product), !fits<T>(product));
}

/// reg *= operand, or reg = operand * immediate.
template <typename T, Form form, bool by_immediate>
void multiply_into(Core& core, const Instruction& insn) {
  T factor = read_source<T, form>(core, insn);
  T other = by_immediate ? static_cast<T>(insn.immediate) : read_register<T>(core, insn.reg);
  SignedDouble<T> product = signed_product<T>(factor, other);
  write_register<T>(core, insn.reg, static_cast<T>(product));
  set_multiply_flags(core, static_cast<T>(product), !fits<T>(product));
}

template <typename T, bool memory>
void divide(Core& core, const Instruction& insn) {
  T divisor = read_first<T, memory>(core, insn);
  Double<T> dividend = read_pair<T>(core);
  if (divisor == 0) raise(kDivideError);
  Double<T> quotient = static_cast<Double<T>>(dividend / divisor);
  if (quotient > std::numeric_limits<T>::max()) raise(kDivideError);
  write_pair<T>(core, static_cast<T>(dividend % divisor), static_cast<T>(quotient));
  set_divide_flags(core);
}

template <typename T, bool memory>
void divide_signed(Core& core, const Instruction& insn) {
  using Signed = std::make_signed_t<T>;
  SignedDouble<T> divisor = static_cast<Signed>(read_first<T, memory>(core, insn));
  Double<T> pair = read_pair<T>(core);
  SignedDouble<T> dividend = static_cast<SignedDouble<T>>(pair);
  // The smallest dividend by -1 has no quotient even in C++.
  bool most_negative = pair == static_cast<Double<T>>(Double<T>{1} << (2 * kBits<T> - 1));
  if (divisor == 0 || (divisor == -1 && most_negative)) raise(kDivideError);
  SignedDouble<T> quotient = static_cast<SignedDouble<T>>(dividend / divisor);
  if (!fits<T>(quotient)) raise(kDivideError);
  write_pair<T>(core, static_cast<T>(dividend % divisor), static_cast<T>(quotient));
  set_divide_flags(core);
}

/// IMUL with one operand, two or three.
Handler signed_multiplier(const Decoded& decoded) {
  if (decoded.insn.operand_count_visible == 1) {
    return by_size(decoded.size(0), [&](auto type) -> Handler {
      using T = decltype(type);
      return decoded.is_memory(0) ? multiply_signed<T, true> : multiply_signed<T, false>;
    });
  }
  return by_word_size(decoded.size(0), [&](auto type) -> Handler {
    using T = decltype(type);
    bool memory = decoded.is_memory(1);
    if (decoded.is_immediate(2)) {
      return memory ? multiply_into<T, Form::reg_mem, true> : multiply_into<T, Form::reg_reg, true>;
    }
    return memory ? multiply_into<T, Form::reg_mem, false> : multiply_into<T, Form::reg_reg, false>;
  });
}

}  // namespace

bool bind_multiply_divide(const Decoded& decoded, Instruction& insn) {
  bool memory = decoded.is_memory(0);
  switch (decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_MUL:
      insn.run = by_size(decoded.size(0), [&](auto type) -> Handler {
        return memory ? multiply<decltype(type), true> : multiply<decltype(type), false>;
      });
      return true;
    case ZYDIS_MNEMONIC_IMUL:
      insn.run = signed_multiplier(decoded);
      return true;
    case ZYDIS_MNEMONIC_DIV:
      insn.run = by_size(decoded.size(0), [&](auto type) -> Handler {
        return memory ? divide<decltype(type), true> : divide<decltype(type), false>;
      });
      return true;
    case ZYDIS_MNEMONIC_IDIV:
      insn.run = by_size(decoded.size(0), [&](auto type) -> Handler {
        return memory ? divide_signed<decltype(type), true> : divide_signed<decltype(type), false>;
      });
      return true;
    default:
      return false;
  }
}

}  // namespace dejavm::soft
