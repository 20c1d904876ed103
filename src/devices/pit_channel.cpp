#include "devices/pit_channel.h"

namespace dejavm::devices {
namespace {

/// Four decimal digits; digits above nine count as they are, as in the chip's decade counters.
uint32_t from_bcd(uint32_t value) {
  return (value >> 12 & 15) * 1000 + (value >> 8 & 15) * 100 + (value >> 4 & 15) * 10 + (value & 15);
}

uint32_t to_bcd(uint32_t value) {
  return (value / 1000 % 10) << 12 | (value / 100 % 10) << 8 | (value / 10 % 10) << 4 | value % 10;
}

}  // namespace

void PitChannel::control(uint8_t word, uint64_t now) {
  access_ = static_cast<Bytes>(word >> 4 & 3);
  mode_ = word >> 1 & 7;
  if (mode_ > 5) mode_ &= 3;  // the top bit is "don't care" for modes 2 and 3
  bcd_ = (word & 1) != 0;
  running_ = false;
  null_count_ = true;
  write_high_next_ = read_high_next_ = false;
  latched_count_.reset();
  latched_status_.reset();
  next_period_.reset();
  start_ = now;
  paused_ = 0;
}

void PitChannel::write(uint8_t value, uint64_t now) {
  uint32_t raw = value;
  switch (access_) {
    case Bytes::low:
      break;
    case Bytes::high:
      raw <<= 8;
      break;
    case Bytes::both:
      write_high_next_ = !write_high_next_;
      if (write_high_next_) {
        low_byte_ = value;
        return;
      }
      raw = raw << 8 | low_byte_;
      break;
  }
  uint32_t count = bcd_ ? from_bcd(raw) : raw;
  if (count == 0) count = bcd_ ? 10000 : 0x10000;
  // The datasheet forbids a count of 1 in modes 2 and 3; the shortest period that exists is taken.
  written_ = periodic() && count == 1 ? 2 : count;
  load(now);
}

void PitChannel::load(uint64_t now) {
  settle(now);
  if (triggered()) {
    null_count_ = true;  // until the trigger
    return;
  }
  if (periodic() && running_) {
    next_period_ = now + (count_ - elapsed(now) % count_);
    null_count_ = true;
    return;
  }
  count_ = written_;
  start_ = now;
  paused_ = 0;
  running_ = true;
  null_count_ = false;
}

void PitChannel::settle(uint64_t now) {
  if (!next_period_ || now < *next_period_ || !gate_) return;
  count_ = written_;
  start_ = *next_period_;
  null_count_ = false;
  next_period_.reset();
}

void PitChannel::set_gate(bool gate, uint64_t now) {
  if (gate == gate_) return;
  settle(now);
  if (!gate) {
    paused_ = elapsed(now);
    gate_ = false;
    return;
  }
  gate_ = true;
  if (mode_ == 0 || mode_ == 4) {
    start_ = now - paused_;
    return;
  }
  // A rising gate starts the period anew, or triggers the one-shot.
  if (triggered()) running_ = true;
  count_ = written_;
  start_ = now;
  null_count_ = false;
  next_period_.reset();
}

bool PitChannel::out(uint64_t now) {
  settle(now);
  if (!running_) return mode_ != 0;
  uint64_t passed = elapsed(now);
  switch (mode_) {
    case 0:
    case 1:
      return passed >= count_;
    case 2:
      return !gate_ || passed % count_ != count_ - 1;
    case 3:
      return !gate_ || passed % count_ < (count_ + 1) / 2;
    default:
      return passed != count_;
  }
}

std::optional<uint64_t> PitChannel::next_rise(uint64_t now) {
  settle(now);
  if (!running_ || (!gate_ && !triggered())) return std::nullopt;
  uint64_t passed = elapsed(now);
  if (periodic()) {
    if (next_period_) return *next_period_;
    return now + (count_ - passed % count_);
  }
  uint64_t rise = start_ + count_ + (mode_ >= 4 ? 1 : 0);
  if (rise <= now) return std::nullopt;
  return rise;
}

uint16_t PitChannel::count_at(uint64_t now) {
  settle(now);
  uint64_t passed = running_ ? elapsed(now) : 0;
  uint64_t value = 0;
  if (mode_ == 2) {
    value = count_ - passed % count_;
  } else if (mode_ == 3) {
    // Both halves count an even number down by two.
    uint64_t phase = passed % count_;
    uint64_t high = (count_ + 1) / 2;
    value = (count_ & ~1u) - 2 * (phase < high ? phase : phase - high);
  } else {
    uint64_t wrap = bcd_ ? 10000 : 0x10000;
    value = (count_ + wrap - passed % wrap) % wrap;
  }
  return static_cast<uint16_t>(bcd_ ? to_bcd(static_cast<uint32_t>(value)) : value);
}

void PitChannel::latch_count(uint64_t now) {
  if (!latched_count_) latched_count_ = count_at(now);
}

void PitChannel::latch_status(uint64_t now) {
  if (latched_status_) return;
  bool level = out(now);
  latched_status_ = static_cast<uint8_t>((level ? 0x80 : 0) | (null_count_ ? 0x40 : 0) |
                                         static_cast<unsigned>(access_) << 4 | mode_ << 1 | (bcd_ ? 1 : 0));
}

uint8_t PitChannel::read(uint64_t now) {
  if (latched_status_) {
    uint8_t status = *latched_status_;
    latched_status_.reset();
    return status;
  }
  uint16_t count = latched_count_ ? *latched_count_ : count_at(now);
  bool high = access_ == Bytes::high || (access_ == Bytes::both && read_high_next_);
  if (access_ == Bytes::both) read_high_next_ = !read_high_next_;
  if (!read_high_next_) latched_count_.reset();
  return static_cast<uint8_t>(high ? count >> 8 : count);
}

}  // namespace dejavm::devices
