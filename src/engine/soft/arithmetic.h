// Two's-complement arithmetic with its status flags, as pure functions.
#pragma once

#include <cstdint>

#include "engine/soft/core.h"
#include "engine/soft/flags.h"

namespace dejavm::soft {

template <typename T>
inline constexpr unsigned kBits = 8 * sizeof(T);

/// Bit number kBits - 1, as 0 or 1.
template <typename T>
constexpr uint64_t top_bit(T value) {
  return static_cast<uint64_t>(value >> (kBits<T> - 1));
}

/// A result and all six status flags.
template <typename T>
struct Outcome {
  T value;
  uint64_t flags;
};

/// CF, AF and OF from the carries out of each bit, and whether the top bit's carries in and out differ.
template <typename T>
constexpr uint64_t carry_flags(T carries, T half, T overflow) {
  return top_bit(carries) | (static_cast<uint64_t>(half) & kAf) | top_bit(overflow) << 11;
}

template <typename T>
constexpr Outcome<T> add(T a, T b, bool carry = false) {
  T sum = static_cast<T>(a + b + static_cast<T>(carry));
  T carries = static_cast<T>((a & b) | ((a | b) & ~sum));
  T overflow = static_cast<T>((a ^ sum) & (b ^ sum));
  return {sum, result_flags(sum) | carry_flags(carries, static_cast<T>(a ^ b ^ sum), overflow)};
}

template <typename T>
constexpr Outcome<T> subtract(T a, T b, bool borrow = false) {
  T difference = static_cast<T>(a - b - static_cast<T>(borrow));
  T borrows = static_cast<T>((~a & b) | ((~a | b) & difference));
  T overflow = static_cast<T>((a ^ b) & (a ^ difference));
  return {difference, result_flags(difference) | carry_flags(borrows, static_cast<T>(a ^ b ^ difference), overflow)};
}

/// Replaces the flags in `changed` (bits of RFLAGS) by those of `flags`.
inline void set_flags(Core& core, uint64_t flags, uint64_t changed = kStatusFlags) {
  core.cpu.rflags = (core.cpu.rflags & ~changed) | (flags & changed);
}

}  // namespace dejavm::soft
