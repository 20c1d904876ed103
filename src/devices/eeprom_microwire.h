// A serial EEPROM of 64 words on a three-wire bus (93C46). Source: Intel 317453, section 5.3; the 93C46's instruction set.
#pragma once

#include <array>
#include <cstdint>

namespace dejavm::devices {

/// Shifts data in at rising edges of the clock and out at falling ones, most significant bit first. Reads only: other
/// instructions are taken and have no effect. Reading goes on with the next word for as long as it is clocked.
class MicrowireEeprom {
 public:
  static constexpr unsigned kWords = 64;
  using Words = std::array<uint16_t, kWords>;

  explicit MicrowireEeprom(const Words& words) : words_(words) {}

  uint16_t word(unsigned index) const { return words_[index % kWords]; }
  /// The levels of chip select, clock and data in.
  void drive(bool select, bool clock, bool data);
  /// The level of data out; high where the chip does not drive it.
  bool data_out() const;
  void reset();

 private:
  const Words words_;
  bool select_ = false;
  bool clock_ = false;
  bool reading_ = false;
  unsigned bits_in_ = 0;
  unsigned shift_in_ = 0;
  unsigned bit_out_ = 0;  // of all words, word 0's highest is bit 0
};

}  // namespace dejavm::devices
