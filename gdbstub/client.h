// The connection to one debugger.
#pragma once

#include <array>
#include <string_view>

#include "base/bytes.h"
#include "base/fd.h"
#include "gdbstub/signal_fd.h"

namespace dejavm::gdb {

/// A non-blocking socket with waits that cancel() of the server ends. Not thread-safe; during a resume the watcher's thread
/// owns it.
class Client {
 public:
  Client(Fd fd, const SignalFd& cancel) : fd_(std::move(fd)), cancel_(cancel) {}

  int fd() const { return fd_.get(); }
  /// The connection is broken, or the other side closed it.
  bool gone() const { return gone_; }

  /// Waits for bytes; empty when the client is gone or the server is cancelled. The bytes stay until the next call.
  ByteSpan receive();
  /// Takes what is there without waiting; empty where there is nothing (or the client is gone).
  ByteSpan receive_now();
  /// Sends everything, or finds that the client is gone (or the server cancelled).
  void send(std::string_view bytes);
  /// Gives the other side a moment to take what was sent and to close; closing on unread input would throw the last reply
  /// away.
  void linger();

 private:
  /// Waits until the socket is ready for `events`; false where the server is cancelled or time is up.
  bool wait(short events, int timeout_ms) const;

  Fd fd_;
  const SignalFd& cancel_;
  bool gone_ = false;
  std::array<uint8_t, 4096> buffer_;
};

}  // namespace dejavm::gdb
