#include "net/frame_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

namespace dejavm::net {

Result<FrameQueue> FrameQueue::create() {
  Fd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return fail_errno("cannot create an eventfd");
  return FrameQueue(std::move(event));
}

bool FrameQueue::push(ByteSpan frame) {
  std::lock_guard lock(mutex_);
  if (frames_.size() >= kMaxFrames || frame.size() > kMaxBytes - bytes_) return false;
  frames_.emplace_back(frame.begin(), frame.end());
  bytes_ += frame.size();
  uint64_t one = 1;
  if (frames_.size() == 1) static_cast<void>(!::write(event_.get(), &one, sizeof one));
  return true;
}

std::optional<Bytes> FrameQueue::take() {
  std::lock_guard lock(mutex_);
  if (frames_.empty()) return std::nullopt;
  Bytes frame = std::move(frames_.front());
  frames_.pop_front();
  bytes_ -= frame.size();
  uint64_t rings = 0;
  if (frames_.empty()) static_cast<void>(!::read(event_.get(), &rings, sizeof rings));
  return frame;
}

}  // namespace dejavm::net
