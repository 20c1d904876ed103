#include "cli/connections.h"

#include "cli/messages.h"

namespace dejavm::cli {

std::vector<Option> connection_option_list(ConnectionOptions& options) {
  auto address = [](std::string& into) {
    return [&into](std::string_view value) -> Status {
      into = value == "none" ? "" : value;
      return {};
    };
  };
  auto default_gdb = [&options](std::string_view) -> Status {
    options.gdb = "tcp::1234";
    return {};
  };
  return {
      {"S", "", "do not start: wait for gdb or QMP", set_flag(options.stopped)},
      {"s", "", "the same as -gdb tcp::1234", default_gdb},
      {"gdb", "tcp::PORT|unix:PATH", "listens for gdb (loopback unless a host is named)", address(options.gdb)},
      {"qmp", "tcp::PORT|unix:PATH", "listens for QEMU's machine protocol (loopback unless a host is named)",
       address(options.qmp)},
  };
}

Result<Connections> Connections::open(const ConnectionOptions& options, std::string_view what) {
  Connections connections;
  if (!options.gdb.empty()) {
    TRY_ASSIGN(connections.server, gdb::Server::listen(options.gdb));
    say(fmt::format("gdb: listening on {}{}", connections.server->address(),
                    options.stopped ? fmt::format("; the {} waits for `continue`", what) : ""));
  }
  if (!options.qmp.empty()) {
    TRY_ASSIGN(connections.qmp, Listener::open(options.qmp, "qmp"));
    say(fmt::format("qmp: listening on {}", connections.qmp->address()));
    if (!connections.server) {
      TRY_ASSIGN(connections.server, gdb::Server::without_debuggers());
    }
  }
  if (!connections.server && options.stopped)
    return fail_usage("-S waits for a debugger, but none can come", "Add -s, -gdb tcp::PORT or -qmp unix:PATH.");
  return connections;
}

}  // namespace dejavm::cli
