#include "net/frame_input.h"

namespace dejavm::net {

void FrameInput::transfer() {
  for (int i = 0; i < kFramesAtATime && card_.ready(); ++i) {
    std::optional<Bytes> frame = network_.take();
    if (!frame) return;
    card_.receive(*frame);
  }
}

}  // namespace dejavm::net
