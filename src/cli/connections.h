// Where debuggers and management programs connect: -gdb, -s, -qmp, -monitor, -S.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/listener.h"
#include "base/result.h"
#include "cli/command_line.h"
#include "gdbstub/server.h"
#include "qmp/guest.h"

namespace dejavm::cli {

struct ConnectionOptions {
  std::string gdb, qmp, monitor;  ///< listening addresses; empty: none
  bool stopped = false;           ///< -S
};

/// The options, applied to `options` when parsed; it must outlive them.
std::vector<Option> connection_option_list(ConnectionOptions& options);

/// What listens, before a sandbox or the guest's first instruction.
struct Connections {
  /// Says where it listens. `what` waits with -S: "guest", "replay".
  static Result<Connections> open(const ConnectionOptions& options, std::string_view what);

  std::optional<gdb::Server> server;  ///< where there is anything to serve
  std::optional<Listener> qmp, monitor;

  /// Those who serve -qmp and -monitor from now on. Borrow the guest.
  gdb::Server::Attendants attendants(qmp::Guest& guest);
};

}  // namespace dejavm::cli
