// QMP or the human monitor on a socket: one client after another.
#pragma once

#include <memory>
#include <optional>

#include "base/attendant.h"
#include "base/fd.h"
#include "base/listener.h"
#include "qmp/guest.h"
#include "qmp/management.h"

namespace dejavm::qmp {

/// Never blocks: what a client does not take waits, up to kMostOutput bytes; a client that lets more wait is dropped. Uses
/// accept4, read, send and close only.
class Server final : public Attendant {
 public:
  static constexpr size_t kMostOutput = size_t{16} << 20;

  enum class Speaks : uint8_t { qmp, monitor };

  /// Borrows the guest.
  Server(Listener listener, Guest& guest, Speaks what = Speaks::qmp)
      : listener_(std::move(listener)), guest_(guest), what_(what) {}

  const std::string& address() const { return listener_.address(); }

  pollfd interest() const override;
  Wish serve(Attendant::Standing guest) override;
  bool is_attached() const override { return client_.has_value(); }
  void guest_runs() override;
  void guest_stands(Why why) override;
  void guest_gone() override;

 private:
  struct Client {
    Fd fd;
    std::unique_ptr<Dialogue> conversation;
    std::string output{};
  };
  std::unique_ptr<Dialogue> greet();
  /// Sends what can be sent; forgets a client that is gone, or takes too little.
  void flush();

  Listener listener_;
  qmp::Guest& guest_;
  const Speaks what_;
  RunState state_;
  std::optional<Client> client_;
};

}  // namespace dejavm::qmp
