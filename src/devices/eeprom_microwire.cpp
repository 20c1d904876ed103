#include "devices/eeprom_microwire.h"

namespace dejavm::devices {
namespace {

constexpr unsigned kInstructionBits = 9;  // a start bit, two of opcode, six of address
constexpr unsigned kReadInstruction = 6;  // start bit and opcode
constexpr unsigned kAllBits = MicrowireEeprom::kWords * 16;

}  // namespace

void MicrowireEeprom::drive(bool select, bool clock, bool data) {
  bool selected = select && !select_;
  bool edge = clock != clock_;
  select_ = select;
  clock_ = clock;
  if (!select) return;
  if (selected) {
    reading_ = false;
    bits_in_ = shift_in_ = 0;
  }
  if (!edge) return;
  if (!clock) {
    bit_out_ = (bit_out_ + 1) % kAllBits;
    return;
  }
  if (bits_in_ == kInstructionBits) return;
  shift_in_ = shift_in_ << 1 | (data ? 1 : 0);
  if (++bits_in_ < kInstructionBits) return;
  reading_ = shift_in_ >> 6 == kReadInstruction;
  bit_out_ = ((shift_in_ & 0x3f) * 16 + kAllBits - 1) % kAllBits;
}

bool MicrowireEeprom::data_out() const { return !reading_ || (words_[bit_out_ / 16] >> (15 - bit_out_ % 16) & 1) != 0; }

void MicrowireEeprom::reset() {
  select_ = clock_ = reading_ = false;
  bits_in_ = shift_in_ = bit_out_ = 0;
}

}  // namespace dejavm::devices
