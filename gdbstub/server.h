// The stub as the rest of dejavm uses it: listens, and serves a target to one debugger after another.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/attendant.h"
#include "base/result.h"
#include "gdbstub/target.h"

namespace dejavm::gdb {

/// Why serve() returned.
struct ServeEnd {
  enum class Kind : uint8_t {
    exited,      ///< the guest ended with `exit_status`
    killed,      ///< a debugger ended it; Target::kill() was called
    replay_end,  ///< with no debugger attached: the trace has no more events
    diverged,    ///< with no debugger attached: the replay diverged; `console` says how
    cancelled,   ///< cancel() was called
    quit,        ///< an attendant wished so
  } kind = Kind::exited;
  uint8_t exit_status = 0;
  std::string console;  ///< the last stop's text, where no debugger saw it
};

/// Owns the listening socket. Threads: all calls from one thread, but for cancel(). Invariant: between listen() and the end,
/// serve() opens nothing: it uses accept4, poll, read, write, sendto and close on descriptors, and what starting and joining
/// a thread takes (docs/gdb.md, "Sandbox").
class Server {
 public:
  /// `spec` is as in QEMU's -gdb: "tcp::PORT" (on loopback), "tcp:HOST:PORT", "unix:PATH"; port 0 takes a free one.
  static Result<Server> listen(std::string_view spec);
  /// Serves attendants alone.
  static Result<Server> without_debuggers();
  Server(Server&&) noexcept;
  Server& operator=(Server&&) noexcept;
  ~Server();

  /// Where it listens, with the port that was chosen: "tcp:127.0.0.1:1234", "unix:/tmp/gdb.sock"; empty where it does not.
  std::string address() const;

  /// Serves the target until it ends. The guest runs while no debugger is attached (`running`), or waits for the first one.
  /// A debugger that attaches stops it; when the debugger detaches or vanishes the guest runs on without breakpoints. Fails
  /// only where the target does with no debugger attached. The attendants are served whenever the guest stands, and have it
  /// stand when it runs; what they wish is done, but for running a guest that a debugger holds.
  using Attendants = std::vector<std::unique_ptr<Attendant>>;
  Result<ServeEnd> serve(Target& target, bool running, const Attendants& attendants = {});

  /// Makes serve() return soon: from any thread, and from a signal handler. Stays in force.
  void cancel() const;

  struct Parts;

 private:
  explicit Server(std::unique_ptr<Parts> parts);

  std::unique_ptr<Parts> parts_;
};

}  // namespace dejavm::gdb
