// QMP on a socket: one client after another.
#pragma once

#include <optional>

#include "base/attendant.h"
#include "base/fd.h"
#include "base/listener.h"
#include "qmp/conversation.h"

namespace dejavm::qmp {

/// Never blocks: what a client does not take waits, up to kMostOutput bytes; a client that lets more wait is dropped. Uses
/// accept4, read, send and close only.
class Server final : public Attendant {
 public:
  static constexpr size_t kMostOutput = size_t{16} << 20;

  /// Borrows the guest.
  Server(Listener listener, Guest& guest) : listener_(std::move(listener)), guest_(guest) {}

  const std::string& address() const { return listener_.address(); }

  pollfd interest() const override;
  Wish serve(Attendant::Standing guest) override;
  bool is_attached() const override { return client_.has_value(); }
  void guest_runs() override;
  void guest_stands(Why why) override;
  void guest_gone() override;

 private:
  struct Client {
    Client(Fd socket, qmp::Guest& guest, RunState& state) : fd(std::move(socket)), conversation(guest, state) {}
    Fd fd;
    Conversation conversation;
    std::string output;
  };
  /// Sends what can be sent; forgets a client that is gone, or takes too little.
  void flush();

  Listener listener_;
  qmp::Guest& guest_;
  RunState state_;
  std::optional<Client> client_;
};

}  // namespace dejavm::qmp
