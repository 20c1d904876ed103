#include "cli/connections.h"

#include "cli/messages.h"
#include "qmp/server.h"

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
      {"S", "", "do not start: wait for gdb, QMP or the monitor", set_flag(options.stopped)},
      {"s", "", "the same as -gdb tcp::1234", default_gdb},
      {"gdb", "tcp::PORT|unix:PATH", "listens for gdb (loopback unless a host is named)", address(options.gdb)},
      {"qmp", "tcp::PORT|unix:PATH", "listens for QEMU's machine protocol (loopback unless a host is named)",
       address(options.qmp)},
      {"monitor", "tcp::PORT|unix:PATH|none", "listens for lines of the monitor (loopback unless a host is named)",
       address(options.monitor)},
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
  }
  if (!options.monitor.empty()) {
    TRY_ASSIGN(connections.monitor, Listener::open(options.monitor, "monitor"));
    say(fmt::format("monitor: listening on {}", connections.monitor->address()));
  }
  if (!connections.server && (connections.qmp || connections.monitor)) {
    TRY_ASSIGN(connections.server, gdb::Server::without_debuggers());
  }
  if (!connections.server && options.stopped)
    return fail_usage("-S waits for a debugger, but none can come",
                      "Add -s, -gdb tcp::PORT, -qmp unix:PATH or -monitor unix:PATH.");
  return connections;
}

gdb::Server::Attendants Connections::attendants(qmp::Guest& guest) {
  using qmp::Server;
  gdb::Server::Attendants all;
  if (qmp) all.push_back(std::make_unique<Server>(std::move(*qmp), guest, Server::Speaks::qmp));
  if (monitor) all.push_back(std::make_unique<Server>(std::move(*monitor), guest, Server::Speaks::monitor));
  return all;
}

}  // namespace dejavm::cli
