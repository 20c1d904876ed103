#include "devices/virtio_rng.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>

namespace dejavm::devices {

VirtioRng::VirtioRng(std::string name, const VirtioBoard& board, unsigned devfn, EntropySource entropy)
    : VirtioPci(std::move(name), board, devfn,
                {.device = 4, .class_code = 0x00ff00, .features = 0, .queue_size = 8, .registers = {}}),
      entropy_(std::move(entropy)) {}

std::optional<VirtioPci::Served> VirtioRng::serve(const VirtioChain& chain) {
  buffer_.resize(std::min<uint64_t>(total_size(chain.writable), kMaxRequest));
  if (buffer_.empty() || !entropy_(buffer_) || !write_segments(dma(), chain.writable, 0, buffer_)) return std::nullopt;
  return Served{static_cast<uint32_t>(buffer_.size()), buffer_.size()};
}

bool host_entropy(MutableByteSpan to) {
  while (!to.empty()) {
    ssize_t got = ::getrandom(to.data(), to.size(), 0);
    if (got < 0 && errno != EINTR) return false;
    if (got > 0) to = to.subspan(static_cast<size_t>(got));
  }
  return true;
}

}  // namespace dejavm::devices
