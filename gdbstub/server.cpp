#include "gdbstub/server.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <optional>

#include "gdbstub/client.h"
#include "gdbstub/conversation.h"
#include "gdbstub/listener.h"
#include "gdbstub/signal_fd.h"
#include "gdbstub/watcher.h"

namespace dejavm::gdb {

struct Server::Parts {
  Listener listener;
  SignalFd cancel;
  SignalFd done;  ///< for the Watcher of a resume
};

namespace {

Stop interrupted() {
  Stop stop;
  stop.kind = Stop::Kind::interrupted;
  return stop;
}

/// One call of Server::serve().
class Serving {
 public:
  Serving(Target& target, const Listener& listener, const SignalFd& cancel, const SignalFd& done)
      : target_(target), listener_(listener), cancel_(cancel), done_(done) {}

  Result<ServeEnd> run(bool running) {
    while (!cancel_.raised()) {
      if (running) {
        TRY_ASSIGN(const auto end, run_alone());
        if (end) return *end;
      } else {
        wait_for_debugger();
      }
      if (cancel_.raised()) break;
      Fd fd = listener_.accept();
      if (!fd) continue;
      if (const auto end = serve_client(std::move(fd))) return *end;
      running = true;
    }
    return ServeEnd{ServeEnd::Kind::cancelled, 0, ""};
  }

 private:
  /// Runs the guest until a debugger connects (nullopt) or there is nothing left to run.
  Result<std::optional<ServeEnd>> run_alone() {
    for (;;) {
      TRY_ASSIGN(const Stop stop, resume({ResumeKind::go}, listener_.fd(), [] { return true; }));
      if (auto end = end_without_debugger(stop)) return end;
      if (cancel_.raised() || debugger_waits(0)) return std::nullopt;
    }
  }

  static std::optional<ServeEnd> end_without_debugger(const Stop& stop) {
    switch (stop.kind) {
      case Stop::Kind::exited:
        return ServeEnd{ServeEnd::Kind::exited, stop.exit_status, stop.console};
      case Stop::Kind::replay_end:
        return ServeEnd{ServeEnd::Kind::replay_end, 0, stop.console};
      case Stop::Kind::diverged:
        return ServeEnd{ServeEnd::Kind::diverged, 0, stop.console};
      default:
        return std::nullopt;
    }
  }

  /// Whether a connection is in the backlog; waits for one at most `timeout_ms`, -1 for ever, or until cancel().
  bool debugger_waits(int timeout_ms) const {
    std::array<pollfd, 2> entries{{{cancel_.fd(), POLLIN, 0}, {listener_.fd(), POLLIN, 0}}};
    return poll(entries.data(), entries.size(), timeout_ms) > 0 && entries[1].revents != 0;
  }

  void wait_for_debugger() const {
    while (!cancel_.raised() && !debugger_waits(-1)) {
    }
  }

  /// Serves one debugger. Returns how it all ended, or nullopt where the guest goes on without the debugger.
  std::optional<ServeEnd> serve_client(Fd fd) {
    Client client(std::move(fd), cancel_);
    Conversation conversation(target_);
    std::optional<ServeEnd> end;
    for (bool attached = true; attached;) {
      const Conversation::Next next = conversation.advance();
      client.send(conversation.take_output());
      switch (next.kind) {
        case Conversation::Next::Kind::input:
          conversation.receive(client.receive());
          break;
        case Conversation::Next::Kind::output:
          break;
        case Conversation::Next::Kind::resume:
          end = resume_for(client, conversation, next.resume);
          break;
        case Conversation::Next::Kind::detached:
          attached = false;
          break;
        case Conversation::Next::Kind::killed:
          target_.kill();
          end = ServeEnd{ServeEnd::Kind::killed, 0, ""};
          break;
      }
      if (end || client.gone() || cancel_.raised()) attached = false;
    }
    client.linger();
    if (!end) target_.detach();
    return end;
  }

  /// Lets the guest go for an attached debugger and tells it how that ended. Returns an end where the guest has ended.
  std::optional<ServeEnd> resume_for(Client& client, Conversation& conversation, const ResumeRequest& request) {
    Bytes received;
    // Acknowledgements may come at any time; whatever else comes stops the guest: Ctrl-C, the end of the connection, a
    // debugger that does not keep to its turn, or one that floods us.
    const auto look = [&] {
      const ByteSpan bytes = client.receive_now();
      received.insert(received.end(), bytes.begin(), bytes.end());
      return client.gone() || received.size() > kPacketSize ||
             std::any_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte != '+'; });
    };
    // What came in one piece with the command to resume is there before the guest runs.
    const bool stays = request.goes() && conversation.has_more_requests();
    const Result<Stop> stop = stays ? interrupted() : resume(request, client.fd(), look);
    conversation.stopped(stop);
    client.send(conversation.take_output());
    conversation.receive(received);
    if (stop && stop->kind == Stop::Kind::exited) return ServeEnd{ServeEnd::Kind::exited, stop->exit_status, ""};
    return std::nullopt;
  }

  /// Resumes the target under a Watcher.
  Result<Stop> resume(const ResumeRequest& request, int fd, const std::function<bool()>& look) {
    // A thread for each of thousands of steps would cost more than they do.
    if (request.kind == ResumeKind::step && target_.steps_are_short()) return target_.resume(request);
    for (;;) {
      Watcher watcher(target_, fd, cancel_, done_, look);
      Result<Stop> stop = target_.resume(request);
      const bool asked = watcher.finish();
      const bool leftover = std::exchange(interrupt_may_be_pending_, asked);
      // An interrupt() that came too late for the last resume may end this one, for no reason that anybody knows.
      if (stop && stop->kind == Stop::Kind::interrupted && !asked && leftover) continue;
      return stop;
    }
  }

  Target& target_;
  const Listener& listener_;
  const SignalFd& cancel_;
  const SignalFd& done_;
  bool interrupt_may_be_pending_ = false;
};

}  // namespace

Result<Server> Server::listen(std::string_view spec) {
  TRY_ASSIGN(Listener listener, Listener::open(spec));
  TRY_ASSIGN(SignalFd cancel, SignalFd::create());
  TRY_ASSIGN(SignalFd done, SignalFd::create());
  return Server(std::unique_ptr<Parts>(new Parts{std::move(listener), std::move(cancel), std::move(done)}));
}

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Server::Server(Server&&) noexcept = default;
Server& Server::operator=(Server&&) noexcept = default;
Server::~Server() = default;

std::string Server::address() const { return parts_->listener.address(); }

Result<ServeEnd> Server::serve(Target& target, bool running) {
  return Serving(target, parts_->listener, parts_->cancel, parts_->done).run(running);
}

void Server::cancel() const { parts_->cancel.raise(); }

}  // namespace dejavm::gdb
