#include "devices/i8259.h"

namespace dejavm::devices {
namespace {

constexpr unsigned kNoPriority = 8;
constexpr uint8_t kCascade = 1u << 2;

constexpr uint8_t bit(unsigned line) { return static_cast<uint8_t>(1u << line); }

}  // namespace

void I8259::set_line(unsigned line, bool level) {
  uint8_t mask = bit(line);
  bool before = (lines_ & mask) != 0;
  if (level) {
    lines_ |= mask;
    if (!before || (elcr_ & mask) != 0) irr_ |= mask;
  } else {
    lines_ &= static_cast<uint8_t>(~mask);
    irr_ &= static_cast<uint8_t>(~mask);
  }
}

unsigned I8259::priority_of(uint8_t requests) const {
  unsigned priority = 0;
  while (priority < kNoPriority && (requests & bit(line_at(priority))) == 0) ++priority;
  return priority;
}

std::optional<unsigned> I8259::pending() const {
  if (init_ != Init::ready) return std::nullopt;
  unsigned request = priority_of(static_cast<uint8_t>(irr_ & ~imr_));
  if (request == kNoPriority) return std::nullopt;
  uint8_t serving = isr_;
  if (special_mask_) serving &= static_cast<uint8_t>(~imr_);
  // Special fully nested: while the slave is served, its other requests of higher priority come through.
  if (special_fully_nested_) serving &= static_cast<uint8_t>(~kCascade);
  if (request >= priority_of(serving)) return std::nullopt;
  return line_at(request);
}

unsigned I8259::acknowledge() {
  std::optional<unsigned> line = pending();
  if (!line) return 7;
  uint8_t mask = bit(*line);
  if ((elcr_ & mask) == 0) irr_ &= static_cast<uint8_t>(~mask);
  if (!auto_eoi_) {
    isr_ |= mask;
  } else if (rotate_on_auto_eoi_) {
    lowest_ = static_cast<uint8_t>(*line);
  }
  return *line;
}

uint8_t I8259::poll() {
  poll_ = false;
  if (!pending()) return 0;
  return static_cast<uint8_t>(0x80 | acknowledge());
}

uint8_t I8259::read_command() {
  if (poll_) return poll();
  return read_isr_ ? isr_ : irr_;
}

uint8_t I8259::read_data() { return poll_ ? poll() : imr_; }

void I8259::begin_init(uint8_t icw1) {
  imr_ = 0;
  isr_ = 0;
  irr_ = static_cast<uint8_t>(lines_ & elcr_);  // edge sensing starts anew: a line that is high must fall first
  lowest_ = 7;
  auto_eoi_ = rotate_on_auto_eoi_ = special_mask_ = special_fully_nested_ = read_isr_ = poll_ = false;
  icw4_follows_ = (icw1 & 0x01) != 0;
  single_ = (icw1 & 0x02) != 0;
  init_ = Init::icw2;
}

void I8259::end_of_interrupt(uint8_t ocw2) {
  bool rotate = (ocw2 & 0x80) != 0;
  bool specific = (ocw2 & 0x40) != 0;
  bool eoi = (ocw2 & 0x20) != 0;
  uint8_t line = ocw2 & 7;
  if (!eoi) {
    if (!specific) rotate_on_auto_eoi_ = rotate;
    if (specific && rotate) lowest_ = line;
    return;
  }
  if (!specific) {
    unsigned priority = priority_of(isr_);
    if (priority == kNoPriority) return;
    line = static_cast<uint8_t>(line_at(priority));
  }
  isr_ &= static_cast<uint8_t>(~bit(line));
  if (rotate) lowest_ = line;
}

void I8259::write_command(uint8_t value) {
  if ((value & 0x10) != 0) {
    begin_init(value);
  } else if ((value & 0x08) == 0) {
    end_of_interrupt(value);
  } else {
    if ((value & 0x04) != 0) poll_ = true;
    if ((value & 0x02) != 0) read_isr_ = (value & 0x01) != 0;
    if ((value & 0x40) != 0) special_mask_ = (value & 0x20) != 0;
  }
}

void I8259::write_data(uint8_t value) {
  switch (init_) {
    case Init::ready:
      imr_ = value;
      return;
    case Init::icw2:
      vector_base_ = value & 0xf8;
      init_ = !single_ ? Init::icw3 : icw4_follows_ ? Init::icw4 : Init::ready;
      return;
    case Init::icw3:  // the cascade is wired, not configured
      init_ = icw4_follows_ ? Init::icw4 : Init::ready;
      return;
    case Init::icw4:
      special_fully_nested_ = (value & 0x10) != 0;
      auto_eoi_ = (value & 0x02) != 0;
      init_ = Init::ready;
      return;
  }
}

void I8259::set_elcr(uint8_t value) {
  elcr_ = value & elcr_writable_;
  irr_ = static_cast<uint8_t>((irr_ & ~elcr_) | (lines_ & elcr_));
}

void I8259::reset() {
  begin_init(0);
  init_ = Init::ready;
  imr_ = 0xff;
  vector_base_ = 0;
  set_elcr(0);
}

}  // namespace dejavm::devices
