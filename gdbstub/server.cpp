#include "gdbstub/server.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/listener.h"
#include "gdbstub/client.h"
#include "gdbstub/conversation.h"
#include "gdbstub/signal_fd.h"
#include "gdbstub/watcher.h"

namespace dejavm::gdb {

struct Server::Parts {
  std::optional<Listener> listener;
  SignalFd cancel;
  SignalFd done;  ///< for the Watcher of a resume

  /// -1, which poll() passes over, where nothing listens.
  int listener_fd() const { return listener ? listener->fd() : -1; }
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
  Serving(Target& target, const Server::Parts& parts, Attendant* attendant)
      : target_(target), parts_(parts), attendant_(attendant) {}

  Result<ServeEnd> run(bool running) {
    running_ = running;
    while (!cancelled()) {
      if (running_) {
        TRY_ASSIGN(const auto end, run_alone());
        if (end) return *end;
      } else {
        stand_until_ready(parts_.listener_fd(), Attendant::Standing::stands);
      }
      if (quits_) return ServeEnd{ServeEnd::Kind::quit, 0, ""};
      if (cancelled() || !debugger_waits()) continue;
      Fd fd = parts_.listener->accept();
      if (!fd) continue;
      if (const auto end = serve_client(std::move(fd))) return *end;
      running_ = true;
    }
    return ServeEnd{ServeEnd::Kind::cancelled, 0, ""};
  }

 private:
  bool cancelled() const { return parts_.cancel.raised(); }

  /// Runs the guest until a debugger connects or the attendant has it stand (nullopt), or there is nothing left to run.
  Result<std::optional<ServeEnd>> run_alone() {
    while (running_ && !quits_ && !cancelled() && !debugger_waits()) {
      TRY_ASSIGN(const Stop stop, resume({ResumeKind::go}, parts_.listener_fd(), [] { return true; }));
      const bool attended = attendant_ != nullptr && attendant_->is_attached();
      const auto end = end_without_debugger(stop);
      if (end && (!attended || stop.kind == Stop::Kind::exited)) return end;
      if (attended && stop.kind != Stop::Kind::interrupted) running_ = false;
    }
    return std::nullopt;
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

  static bool is_ready(pollfd entry) { return poll(&entry, 1, 0) > 0; }
  bool debugger_waits() const { return is_ready({parts_.listener_fd(), POLLIN, 0}); }

  /// Waits, with the guest standing, until `fd` has something to read; until the attendant has the guest run or wants to
  /// quit; or until cancel().
  void stand_until_ready(int fd, Attendant::Standing guest) {
    while (!cancelled() && !quits_ && !(running_ && guest == Attendant::Standing::stands)) {
      std::array<pollfd, 3> entries{{{parts_.cancel.fd(), POLLIN, 0}, {fd, POLLIN, 0}, {-1, 0, 0}}};
      if (attendant_ != nullptr) entries[2] = attendant_->interest();
      if (poll(entries.data(), entries.size(), -1) <= 0) continue;
      if (entries[1].revents != 0) return;
      if (entries[2].revents != 0) attend(guest);
    }
  }

  /// Does what the attendant wishes. Whether the guest goes on.
  bool attend(Attendant::Standing guest) {
    switch (attendant_->serve(guest)) {
      case Attendant::Wish::run:
        running_ = true;
        break;
      case Attendant::Wish::stop:
        running_ = false;
        return false;
      case Attendant::Wish::quit:
        quits_ = true;
        return false;
      case Attendant::Wish::none:
        break;
    }
    return true;
  }
  void tell(const Result<Stop>& stop) {
    using Why = Attendant::Why;
    if (attendant_ == nullptr) return;
    if (stop && stop->kind == Stop::Kind::exited) return attendant_->guest_gone();
    const bool failed = !stop || stop->kind == Stop::Kind::diverged;
    attendant_->guest_stands(failed                                  ? Why::failed
                             : stop->kind == Stop::Kind::interrupted ? Why::paused
                             : stop->kind == Stop::Kind::replay_end  ? Why::ended
                                                                     : Why::debug);
  }

  /// Serves one debugger. Returns how it all ended, or nullopt where the guest goes on without the debugger.
  std::optional<ServeEnd> serve_client(Fd fd) {
    Client client(std::move(fd), parts_.cancel);
    Conversation conversation(target_);
    std::optional<ServeEnd> end;
    for (bool attached = true; attached;) {
      const Conversation::Next next = conversation.advance();
      send_output(client, conversation);
      switch (next.kind) {
        case Conversation::Next::Kind::input:
          stand_until_ready(client.fd(), Attendant::Standing::held);
          if (!quits_) conversation.receive(client.receive());
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
      if (quits_) end = ServeEnd{ServeEnd::Kind::quit, 0, ""};
      if (end || client.gone() || cancelled()) attached = false;
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
    send_output(client, conversation);
    conversation.receive(received);
    if (stop && stop->kind == Stop::Kind::exited) return ServeEnd{ServeEnd::Kind::exited, stop->exit_status, ""};
    return std::nullopt;
  }

  void send_output(Client& client, Conversation& conversation) {
    conversation.take_output(output_);
    client.send(output_);
  }

  /// Resumes the target, and tells the attendant when it runs and stands. A Watcher's thread for each of thousands of steps
  /// would cost more than they do.
  Result<Stop> resume(const ResumeRequest& request, int fd, const std::function<bool()>& look) {
    if (attendant_ != nullptr) attendant_->guest_runs();
    const bool short_step = request.kind == ResumeKind::step && target_.steps_are_short();
    Result<Stop> stop = short_step ? target_.resume(request) : resume_watched(request, fd, look);
    tell(stop);
    return stop;
  }

  /// What the attendant wants in between does not end it, unless that is to stand. On the way backward it waits: a search
  /// that is interrupted begins anew.
  Result<Stop> resume_watched(const ResumeRequest& request, int fd, const std::function<bool()>& look) {
    const bool attends = attendant_ != nullptr && !request.goes_back();
    for (;;) {
      bool looked = false;  // the watcher's, until it has finished
      std::vector<Watched> watched{{{fd, POLLIN, 0}, [&] { return looked = look(); }}};
      if (attends) watched.push_back({attendant_->interest(), [] { return true; }});
      Watcher watcher(target_, std::move(watched), parts_.cancel, parts_.done);
      Result<Stop> stop = target_.resume(request);
      const bool asked = watcher.finish();
      const bool leftover = std::exchange(interrupt_may_be_pending_, asked);
      const bool stopped = !stop || stop->kind != Stop::Kind::interrupted;
      if (!stopped && !looked && !cancelled()) {
        if (attends && is_ready(attendant_->interest())) {
          if (attend(Attendant::Standing::runs)) continue;
        } else if (leftover || asked) {
          // An interrupt() that came too late for the last resume ends this one, or the attendant has left.
          continue;
        }
      }
      return stop;
    }
  }

  Target& target_;
  const Server::Parts& parts_;
  Attendant* attendant_;
  bool running_ = false;  // what a guest does that no debugger holds
  bool quits_ = false;
  bool interrupt_may_be_pending_ = false;
  std::string output_;  // what is being sent; kept, because new room for each answer of 64 KiB is not cheap
};

}  // namespace

Result<Server> Server::listen(std::string_view spec) {
  TRY_ASSIGN(Server server, without_debuggers());
  TRY_ASSIGN(server.parts_->listener, Listener::open(spec, "gdb"));
  return server;
}

Result<Server> Server::without_debuggers() {
  TRY_ASSIGN(SignalFd cancel, SignalFd::create());
  TRY_ASSIGN(SignalFd done, SignalFd::create());
  return Server(std::unique_ptr<Parts>(new Parts{std::nullopt, std::move(cancel), std::move(done)}));
}

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Server::Server(Server&&) noexcept = default;
Server& Server::operator=(Server&&) noexcept = default;
Server::~Server() = default;

std::string Server::address() const { return parts_->listener ? parts_->listener->address() : std::string(); }

Result<ServeEnd> Server::serve(Target& target, bool running, Attendant* attendant) {
  return Serving(target, *parts_, attendant).run(running);
}

void Server::cancel() const { parts_->cancel.raise(); }

}  // namespace dejavm::gdb
