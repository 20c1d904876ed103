#include "devices/msix.h"

#include "base/bytes.h"
#include "base/check.h"

namespace dejavm::devices {

Msix::Msix(unsigned vectors, MsiSink sink) : sink_(std::move(sink)), table_(size_t{vectors} * kEntrySize) {
  CHECK(vectors >= 1 && vectors <= kMaxVectors && sink_);
  reset();
}

void Msix::reset() {
  pending_ = 0;
  enabled_ = function_masked_ = false;
  for (size_t i = 0; i < table_.size(); ++i) table_[i] = i % kEntrySize == kControl ? 1 : 0;
}

void Msix::set_control(bool enabled, bool masked) {
  enabled_ = enabled;
  function_masked_ = masked;
  send_waiting();
}

bool Msix::masked(unsigned vector) const {
  return function_masked_ || (table_[size_t{vector} * kEntrySize + kControl] & 1) != 0;
}

void Msix::raise(unsigned vector) {
  if (!enabled_ || vector >= table_.size() / kEntrySize) return;
  pending_ |= 1u << vector;
  send_waiting();
}

void Msix::send_waiting() {
  if (!enabled_) return;
  for (unsigned vector = 0; vector < table_.size() / kEntrySize; ++vector) {
    if ((pending_ >> vector & 1) == 0 || masked(vector)) continue;
    pending_ &= ~(1u << vector);
    const uint8_t* entry = &table_[size_t{vector} * kEntrySize];
    sink_(load_le<uint64_t>(entry) & ~uint64_t{3}, load_le<uint32_t>(entry + 8));
  }
}

uint32_t Msix::read(uint64_t offset, unsigned size) const {
  uint32_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    uint64_t at = offset + i;
    uint8_t byte = 0;
    if (at < table_.size()) byte = table_[at];
    if (at >= kPendingOffset && at < kPendingOffset + 4) byte = static_cast<uint8_t>(pending_ >> (8 * (at & 3)));
    value |= uint32_t{byte} << (8 * i);
  }
  return value;
}

void Msix::write(uint64_t offset, unsigned size, uint32_t value) {
  for (unsigned i = 0; i < size; ++i) {
    uint64_t at = offset + i;
    if (at >= table_.size()) continue;  // the pending bits are the device's
    auto byte = static_cast<uint8_t>(value >> (8 * i));
    bool control = at % kEntrySize >= kControl;
    table_[at] = control ? static_cast<uint8_t>(at % kEntrySize == kControl ? byte & 1 : 0) : byte;
  }
  send_waiting();
}

}  // namespace dejavm::devices
