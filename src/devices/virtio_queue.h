// A split virtqueue as the device sees it. Source: OASIS Virtual I/O Device 1.1, section 2.6.
#pragma once

#include <cstdint>
#include <vector>

#include "vm/deferred_work.h"

namespace dejavm::devices {

/// A piece of guest memory that a descriptor names; size is never 0. Nothing says that it is memory.
struct VirtioSegment {
  uint64_t gpa = 0;
  uint32_t size = 0;
};

/// A request: what the device may read, then what it may write.
struct VirtioChain {
  uint16_t head = 0;
  std::vector<VirtioSegment> readable;
  std::vector<VirtioSegment> writable;
};

/// Bytes in all segments; at most 2^32 times their number, so that the sum does not overflow.
uint64_t total_size(const std::vector<VirtioSegment>& segments);
/// Copies from the start of the segments as much as `to` takes; false where they are shorter or are not memory.
bool read_segments(const vm::Dma& dma, const std::vector<VirtioSegment>& segments, uint64_t offset, MutableByteSpan to);
/// Writes to the segments from byte `offset` on; false where they are shorter or are not memory. What was memory is written.
bool write_segments(vm::Dma& dma, const std::vector<VirtioSegment>& segments, uint64_t offset, ByteSpan from);

/// The rings are the guest's and may say anything: a chain has at most as many descriptors as the device's queue has places,
/// and the guest can have made at most as many chains available. Whoever breaks that, or names a descriptor that does not
/// exist, broke the queue. All functions that take a Dma belong to consistent points.
class VirtioQueue {
 public:
  /// What the driver chose. The addresses are of the descriptor table, the available and the used ring.
  struct Registers {
    uint16_t size = 0;
    uint16_t vector = 0xffff;
    bool enabled = false;
    uint64_t descriptors = 0;
    uint64_t available = 0;
    uint64_t used = 0;
  };
  enum class Pop { chain, empty, broken };

  /// max_size: a power of two, at most 32768.
  explicit VirtioQueue(uint16_t max_size);

  void reset();
  uint16_t max_size() const { return max_size_; }
  Registers& registers() { return registers_; }
  const Registers& registers() const { return registers_; }
  /// The features that were negotiated.
  void use(bool indirect, bool event_index);

  /// Takes the next request.
  Pop pop(const vm::Dma& dma, VirtioChain& chain);
  /// Gives a request back, `written` bytes of it written. The driver sees it after publish(). False: the ring is not memory.
  bool push(vm::Dma& dma, uint16_t head, uint32_t written);
  /// Shows the driver what was pushed, and that all was taken.
  bool publish(vm::Dma& dma);
  /// Whether the driver wants an interrupt for what was published since the last time it wanted one.
  bool wants_interrupt(const vm::Dma& dma);

 private:
  bool walk(const vm::Dma& dma, VirtioChain& chain) const;

  const uint16_t max_size_;
  Registers registers_;
  bool indirect_ = false;
  bool event_index_ = false;
  uint16_t next_available_ = 0;
  uint16_t next_used_ = 0;       // of what was pushed
  uint16_t published_used_ = 0;  // of what the driver was shown
  uint16_t signalled_used_ = 0;  // when it was last interrupted
  bool signalled_ = false;
};

}  // namespace dejavm::devices
