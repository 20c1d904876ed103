// The receive ring of the 82540EM. Source: Intel 317453, section 3.2.
#pragma once

#include "base/bytes.h"
#include "devices/e1000_interrupts.h"
#include "vm/deferred_work.h"

namespace dejavm::devices::e1000 {

/// Puts frames into the buffers of the descriptors from RDH to RDT, a frame into as many as it needs. Short frames are
/// padded to 60 bytes; the frame check sequence is counted in the length, and not written, as in QEMU. A descriptor without
/// a buffer address is used up and gets nothing.
class Receiver {
 public:
  Receiver(Registers& registers, Interrupts& interrupts, vm::Dma& dma)
      : registers_(registers), interrupts_(interrupts), dma_(dma) {}

  /// Reception is on and there is a free descriptor.
  bool ready() const;
  /// At a consistent point. Frames that the filters reject, that are too long or find no room are counted and dropped.
  void receive(ByteSpan frame);

 private:
  uint32_t descriptors() const;
  uint32_t free_descriptors() const;
  uint32_t buffer_size() const;
  bool has_room(uint64_t size) const;
  void store(ByteSpan frame, uint64_t total, uint16_t vlan, uint8_t status);

  Registers& registers_;
  Interrupts& interrupts_;
  vm::Dma& dma_;
};

}  // namespace dejavm::devices::e1000
