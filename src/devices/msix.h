// MSI-X: a table of messages, their masks, and the messages that wait. Source: PCI Local Bus Specification 3.0,
// section 6.8.2.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/msi.h"

namespace dejavm::devices {

/// The table and the pending bits of one function, as a memory window shows them: the table from offset 0 on, the pending
/// bits at kPendingOffset. Vectors are masked after reset. A message that is masked waits and goes out when it may.
class Msix {
 public:
  static constexpr uint64_t kPendingOffset = 0x800;
  static constexpr unsigned kMaxVectors = 32;

  /// vectors: 1 to kMaxVectors.
  Msix(unsigned vectors, MsiSink sink);

  bool enabled() const { return enabled_; }
  /// What the message control register says: enable and function mask.
  void set_control(bool enabled, bool masked);
  /// Sends the message of a vector; a number that is none (as 0xffff, "no vector") sends nothing.
  void raise(unsigned vector);
  void reset();

  /// size: 1, 2 or 4, naturally aligned. What is neither table nor pending bits reads as zero.
  uint32_t read(uint64_t offset, unsigned size) const;
  void write(uint64_t offset, unsigned size, uint32_t value);

 private:
  static constexpr unsigned kEntrySize = 16, kControl = 12;

  bool masked(unsigned vector) const;
  void send_waiting();

  MsiSink sink_;
  std::vector<uint8_t> table_;
  uint32_t pending_ = 0;
  bool enabled_ = false;
  bool function_masked_ = false;
};

}  // namespace dejavm::devices
