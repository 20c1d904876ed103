#include "devices/ioapic.h"

#include "base/check.h"

namespace dejavm::devices {
namespace {

constexpr uint64_t kSelect = 0x00, kWindow = 0x10, kEoi = 0x40;
constexpr unsigned kId = 0, kVersion = 1, kArbitration = 2, kFirstEntry = 0x10;
constexpr uint32_t kVersionValue = 0x20 | (IoApic::kPins - 1) << 16;

constexpr uint64_t kDeliveryStatus = uint64_t{1} << 12, kRemoteIrr = uint64_t{1} << 14, kLevel = uint64_t{1} << 15,
                   kMasked = uint64_t{1} << 16;
constexpr uint64_t kReadOnly = kDeliveryStatus | kRemoteIrr;
constexpr uint64_t kWritable = 0xff0000000001ffff & ~kReadOnly;

}  // namespace

void IoApic::reset() {
  entries_.fill(kMasked);
  id_ = selected_ = 0;
}

uint64_t IoApic::read(unsigned, uint64_t offset, unsigned size) {
  if (size == 4 && offset == kSelect) return selected_;
  return size == 4 && offset == kWindow ? read_window() : 0;
}

void IoApic::write(unsigned, uint64_t offset, unsigned size, uint64_t value) {
  if (size != 4) return;
  if (offset == kSelect) selected_ = static_cast<uint8_t>(value);
  if (offset == kWindow) write_window(static_cast<uint32_t>(value));
  if (offset == kEoi) end_of_interrupt(static_cast<uint8_t>(value));
}

uint32_t IoApic::read_window() const {
  switch (selected_) {
    case kId:
    case kArbitration:
      return uint32_t{id_} << 24;
    case kVersion:
      return kVersionValue;
    default:
      break;
  }
  unsigned half = selected_ - kFirstEntry;
  if (selected_ < kFirstEntry || half >= 2 * kPins) return 0;
  return static_cast<uint32_t>(entries_[half / 2] >> (half % 2 * 32));
}

void IoApic::write_window(uint32_t value) {
  if (selected_ == kId) id_ = value >> 24 & 15;
  unsigned half = selected_ - kFirstEntry;
  if (selected_ >= kFirstEntry && half < 2 * kPins) write_entry(half / 2, half % 2 != 0, value);
}

void IoApic::write_entry(unsigned pin, bool high, uint32_t value) {
  uint64_t& entry = entries_[pin];
  uint64_t written = high ? (entry & 0xffffffff) | uint64_t{value} << 32 : (entry & ~uint64_t{0xffffffff}) | value;
  entry = (written & kWritable) | (entry & kReadOnly);
  if ((entry & kLevel) == 0) entry &= ~kRemoteIrr;  // Linux lets an interrupt that hangs go by switching it to edge
  if ((entry & kLevel) != 0 && wants(pin)) send(pin);
}

void IoApic::set_line(unsigned pin, bool level) {
  CHECK(pin < kPins);
  uint32_t bit = 1u << pin;
  bool rises = level && (lines_ & bit) == 0;
  lines_ = level ? lines_ | bit : lines_ & ~bit;
  bool sends = (entries_[pin] & kLevel) != 0 ? wants(pin) : rises && (entries_[pin] & kMasked) == 0;
  if (sends) send(pin);
}

/// A level-triggered pin whose line is high and that nobody serves.
bool IoApic::wants(unsigned pin) const { return (lines_ >> pin & 1) != 0 && (entries_[pin] & (kMasked | kRemoteIrr)) == 0; }

void IoApic::send(unsigned pin) {
  uint64_t& entry = entries_[pin];
  bool level = (entry & kLevel) != 0;
  if (level) entry |= kRemoteIrr;
  sink_({.destination = static_cast<uint8_t>(entry >> 56),
         .logical = (entry >> 11 & 1) != 0,
         .mode = static_cast<DeliveryMode>(entry >> 8 & 7),
         .vector = static_cast<uint8_t>(entry),
         .level = level});
}

void IoApic::end_of_interrupt(uint8_t vector) {
  for (unsigned pin = 0; pin < kPins; ++pin) {
    uint64_t& entry = entries_[pin];
    if ((entry & kLevel) == 0 || (entry & kRemoteIrr) == 0 || static_cast<uint8_t>(entry) != vector) continue;
    entry &= ~kRemoteIrr;
    if (wants(pin)) send(pin);
  }
}

}  // namespace dejavm::devices
