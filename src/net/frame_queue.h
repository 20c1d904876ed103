// Frames on their way from one thread to another.
#pragma once

#include <deque>
#include <mutex>
#include <optional>

#include "base/bytes.h"
#include "base/fd.h"

namespace dejavm::net {

/// A bounded queue with a descriptor that is readable while it holds a frame. Any thread.
class FrameQueue {
 public:
  static constexpr size_t kMaxFrames = 1024;
  static constexpr size_t kMaxBytes = size_t{4} << 20;

  static Result<FrameQueue> create();
  FrameQueue(FrameQueue&& other) noexcept : event_(std::move(other.event_)) {}

  /// False, and the frame is dropped, where the queue is full.
  bool push(ByteSpan frame);
  std::optional<Bytes> take();
  int descriptor() const { return event_.get(); }

 private:
  explicit FrameQueue(Fd event) : event_(std::move(event)) {}

  Fd event_;
  std::mutex mutex_;
  std::deque<Bytes> frames_;
  size_t bytes_ = 0;
};

}  // namespace dejavm::net
