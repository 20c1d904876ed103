// virtio-blk-pci, 1af4:1042. Source: OASIS Virtual I/O Device 1.1, section 5.2.
#pragma once

#include <memory>
#include <string>

#include "devices/block_image.h"
#include "devices/virtio_pci.h"

namespace dejavm::devices {

/// One queue of 256 places; a request is complete when the notifying instruction is. It offers what QEMU's offers. Discards
/// succeed and do nothing, as in QEMU without discard=unmap. A request that is not whole sectors, lies beyond the end, or
/// writes to a read-only disk ends with an I/O error; so does one of more than kMaxRequest bytes, and one whose buffers are
/// not memory. One without header or status byte is malformed.
class VirtioBlk final : public VirtioPci {
 public:
  static constexpr uint64_t kMaxRequest = uint64_t{32} << 20;

  /// `serial`: at most 20 characters count.
  VirtioBlk(std::string name, const VirtioBoard& board, unsigned devfn, std::unique_ptr<BlockStore> store,
            std::string serial);

 private:
  enum class Outcome : uint8_t { ok = 0, io_error = 1, unsupported = 2 };

  static VirtioConfig describe(const BlockStore& store);

  std::optional<Served> serve(const VirtioChain& chain) override;
  void registers_written(uint64_t offset, uint8_t value) override;

  Outcome perform(uint32_t type, uint64_t sector, const VirtioChain& chain, Served& served);
  Outcome transfer_in(uint64_t sector, const VirtioChain& chain, Served& served);
  Outcome transfer_out(uint64_t sector, const VirtioChain& chain, Served& served);
  Outcome identify(const VirtioChain& chain, Served& served);
  Outcome clear(bool zeroes, const VirtioChain& chain);
  bool inside(uint64_t sector, uint64_t bytes) const;

  std::unique_ptr<BlockStore> store_;
  const std::string serial_;
  Bytes buffer_;  // a part of a transfer
};

}  // namespace dejavm::devices
