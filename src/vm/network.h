// A network card's cable as both of its ends see it: whole Ethernet frames, without preamble and frame check sequence.
#pragma once

#include <functional>

#include "base/bytes.h"

namespace dejavm::vm {

/// Takes a frame that a card sends. Called at consistent points only; returns at once.
using FrameSink = std::function<void(ByteSpan frame)>;

/// The receiving end of a card. Frames arrive at consistent points only.
class FrameReceiver {
 public:
  virtual ~FrameReceiver() = default;
  /// Whether the card takes a frame now.
  virtual bool ready() const = 0;
  /// One frame; a card that is not ready, or whose filters reject it, drops it.
  virtual void receive(ByteSpan frame) = 0;
};

}  // namespace dejavm::vm
