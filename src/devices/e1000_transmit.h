// The transmit ring of the 82540EM. Source: Intel 317453, sections 3.3 and 3.4.
#pragma once

#include <optional>

#include "base/bytes.h"
#include "devices/e1000_interrupts.h"
#include "devices/e1000_offload.h"
#include "vm/deferred_work.h"
#include "vm/network.h"

namespace dejavm::devices::e1000 {

/// Takes descriptors from TDH to TDT: legacy, context and data ones, the latter with checksums and segmentation. Memory that
/// is not there reads as zero. A packet keeps at most 64 KiB (what is beyond is cut off), a segment size below 16 means no
/// segmentation. A doorbell visits a descriptor at most once, and after 256 KiB or 256 descriptors the rest waits 10 us, so
/// that no ring holds up the guest.
class Transmitter {
 public:
  Transmitter(Registers& registers, Interrupts& interrupts, vm::TimerQueue& timers, vm::Dma& dma, vm::FrameSink send)
      : registers_(registers), interrupts_(interrupts), timers_(timers), dma_(dma), send_(std::move(send)) {}
  ~Transmitter() { timers_.cancel(again_); }
  Transmitter(const Transmitter&) = delete;
  Transmitter& operator=(const Transmitter&) = delete;

  /// Answers a write of TDT or TCTL. From deferred work.
  void doorbell();
  void reset();

 private:
  struct Descriptor {
    uint64_t address = 0;
    uint32_t lower = 0;  // length and command
    uint32_t upper = 0;  // status, options, special
  };

  void run();
  /// Returns how many bytes it moved.
  uint64_t process(const Descriptor& descriptor, ByteSpan raw);
  void write_back(const Descriptor& descriptor, uint64_t at);
  void append(uint64_t address, uint64_t size);
  void append_segments(uint64_t address, uint64_t size);
  bool segments() const;
  void emit();
  void end_packet();

  Registers& registers_;
  Interrupts& interrupts_;
  vm::TimerQueue& timers_;
  vm::Dma& dma_;
  vm::FrameSink send_;
  vm::TimerQueue::Id again_ = 0;
  uint32_t visits_left_ = 0;
  OffloadContext context_;               // of packets that are sent whole
  OffloadContext segmentation_context_;  // of those that are segmented

  // The packet at hand.
  Bytes packet_;
  Bytes frame_;  // as it is sent
  bool segmented_ = false;
  uint32_t segments_sent_ = 0;
  uint32_t options_ = 0;  // POPTS of its first data descriptor
  std::optional<ChecksumRange> legacy_checksum_;
  std::optional<uint16_t> vlan_;
};

}  // namespace dejavm::devices::e1000
