// What a network card is connected to.
#pragma once

#include <optional>

#include "base/bytes.h"

namespace dejavm::net {

/// A network as the vCPU's thread sees it. Nothing here waits: the work is done on a thread of the network's own.
class Backend {
 public:
  virtual ~Backend() = default;
  /// Sends a frame of the guest; dropped where too many wait.
  virtual void send(ByteSpan frame) = 0;
  /// Readable while frames for the guest wait.
  virtual int descriptor() const = 0;
  /// The oldest frame for the guest.
  virtual std::optional<Bytes> take() = 0;
};

}  // namespace dejavm::net
