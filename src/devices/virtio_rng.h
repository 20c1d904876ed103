// virtio-rng-pci, 1af4:1044: entropy of the host. Source: OASIS Virtual I/O Device 1.1, section 5.4.
#pragma once

#include <functional>
#include <string>

#include "devices/virtio_pci.h"

namespace dejavm::devices {

/// Fills the buffer; false: there is no entropy.
using EntropySource = std::function<bool(MutableByteSpan)>;

/// One queue of 8 places. A request is filled at once, with kMaxRequest bytes at most; what the guest gets is in a recording
/// as DMA. One that has nothing to write to, or no memory there, is malformed.
class VirtioRng final : public VirtioPci {
 public:
  static constexpr uint64_t kMaxRequest = 64 * 1024;

  VirtioRng(std::string name, const VirtioBoard& board, unsigned devfn, EntropySource entropy);

 private:
  std::optional<Served> serve(const VirtioChain& chain) override;

  EntropySource entropy_;
  Bytes buffer_;
};

/// The host's getrandom().
bool host_entropy(MutableByteSpan to);

}  // namespace dejavm::devices
