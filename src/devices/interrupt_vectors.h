// 256 bits, one an interrupt vector, as the APIC's IRR, ISR and TMR are.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace dejavm::devices {

class InterruptVectors {
 public:
  bool test(uint8_t vector) const { return (words_[vector >> 5] >> (vector & 31) & 1) != 0; }
  void set(uint8_t vector, bool value) {
    uint32_t bit = 1u << (vector & 31);
    words_[vector >> 5] = value ? words_[vector >> 5] | bit : words_[vector >> 5] & ~bit;
  }
  void clear() { words_.fill(0); }
  /// The highest vector that is set; 0 where none is (vectors below 16 are never set).
  uint8_t highest() const {
    for (unsigned word = 8; word-- > 0;) {
      if (words_[word] != 0)
        return static_cast<uint8_t>(word * 32 + 31 - static_cast<unsigned>(std::countl_zero(words_[word])));
    }
    return 0;
  }
  /// Vectors 32 * number to 32 * number + 31; number is 0 to 7.
  uint32_t word(unsigned number) const { return words_[number]; }

 private:
  std::array<uint32_t, 8> words_{};
};

}  // namespace dejavm::devices
