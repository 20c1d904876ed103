// One 8259A interrupt controller chip. Source: Intel 8259A datasheet (231468); trigger modes per line as in the ELCR of
// Intel's PIIX3 datasheet (290550, section 2.5.6.4).
#pragma once

#include <cstdint>
#include <optional>

namespace dejavm::devices {

/// Eight interrupt requests with priorities. An edge request is remembered until it is acknowledged or its line falls (the
/// datasheet wants the line high until INTA); a level request follows its line. LTIM of ICW1 has no effect, as on the PIIX3:
/// the ELCR decides each line.
class I8259 {
 public:
  /// `elcr_writable`: the lines that may be made level-triggered.
  explicit I8259(uint8_t elcr_writable) : elcr_writable_(elcr_writable) {}

  void set_line(unsigned line, bool level);

  /// The request that would be acknowledged now; none while INT is low.
  std::optional<unsigned> pending() const;
  /// The INTA cycle: the line that is served now, or 7 without an in-service bit when nothing is pending (spurious).
  unsigned acknowledge();
  uint8_t vector(unsigned line) const { return static_cast<uint8_t>(vector_base_ | line); }

  /// A0 = 0: IRR or ISR (OCW3), or the answer of a poll command.
  uint8_t read_command();
  /// A0 = 1: the mask, or the answer of a poll command.
  uint8_t read_data();
  void write_command(uint8_t value);
  void write_data(uint8_t value);

  uint8_t elcr() const { return elcr_; }
  void set_elcr(uint8_t value);

  /// After power-on nothing is served before the ICWs are written, because every line is masked.
  void reset();

 private:
  enum class Init : uint8_t { ready, icw2, icw3, icw4 };

  void begin_init(uint8_t icw1);
  void end_of_interrupt(uint8_t ocw2);
  unsigned priority_of(uint8_t requests) const;
  unsigned line_at(unsigned priority) const { return (lowest_ + 1 + priority) & 7; }
  uint8_t poll();

  const uint8_t elcr_writable_;
  uint8_t elcr_ = 0;
  uint8_t lines_ = 0;
  uint8_t irr_ = 0;
  uint8_t isr_ = 0;
  uint8_t imr_ = 0xff;
  uint8_t vector_base_ = 0;
  uint8_t lowest_ = 7;  // the line with the lowest priority; rotation moves it
  Init init_ = Init::ready;
  bool single_ = false;
  bool icw4_follows_ = false;
  bool auto_eoi_ = false;
  bool rotate_on_auto_eoi_ = false;
  bool special_mask_ = false;
  bool special_fully_nested_ = false;
  bool read_isr_ = false;
  bool poll_ = false;
};

}  // namespace dejavm::devices
