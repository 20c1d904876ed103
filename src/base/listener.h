// Where debuggers and management programs connect: QEMU's spelling of addresses, and the listening socket.
#pragma once

#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace dejavm {

/// A listening TCP or Unix socket. Accepts without any system call but accept4.
class Listener {
 public:
  /// "tcp::PORT" (loopback), "tcp:HOST:PORT", "unix:PATH"; port 0 takes a free one. Words that QEMU allows behind a comma
  /// (server, nowait, server=on, wait=off, nodelay) are accepted where they say what happens anyway, others are refused by
  /// name. A socket file that nobody listens on is replaced; any other file is refused.
  /// `whose`: "gdb", "qmp", for messages.
  static Result<Listener> open(std::string_view spec, std::string_view whose);

  /// The address in the same spelling, with the host and the port that were chosen: "tcp:127.0.0.1:1234".
  const std::string& address() const { return address_; }
  int fd() const { return fd_.get(); }

  /// The next client, as a non-blocking socket; none where it is gone again already.
  Fd accept() const;

 private:
  Listener(Fd fd, std::string address) : fd_(std::move(fd)), address_(std::move(address)) {}
  static Result<Listener> open(std::string_view spec);
  static Result<Listener> open_tcp(std::string_view host, std::string_view port);
  static Result<Listener> open_unix(const std::string& path);

  Fd fd_;
  std::string address_;
};

}  // namespace dejavm
