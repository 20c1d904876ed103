// The user-mode network: libslirp on a thread of its own.
#pragma once

#include <memory>

#include "net/backend.h"
#include "net/user_options.h"

namespace dejavm::net {

/// A network with a gateway that answers DHCP, DNS, TFTP and pings, and reaches outside by the host's sockets. IPv6 is there
/// as in QEMU: prefix fec0::/64, gateway ::2, DNS ::3.
class UserNetwork : public Backend {
 public:
  /// Errors name the option that the host refused.
  static Result<std::unique_ptr<UserNetwork>> create(const UserOptions& options);
};

}  // namespace dejavm::net
