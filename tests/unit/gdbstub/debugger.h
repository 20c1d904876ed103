// The debugger's side of a real socket, for tests.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/parse.h"
#include "gdbstub/packet.h"
#include "stop_reply.h"

namespace dejavm::gdb {

/// A debugger in ack mode over a blocking socket.
class Debugger {
 public:
  explicit Debugger(const std::string& address) {
    const auto parts = split(address, ':');
    if (parts[0] == "unix") {
      sockaddr_un where{};
      where.sun_family = AF_UNIX;
      parts[1].copy(where.sun_path, sizeof where.sun_path - 1);
      connect_to(AF_UNIX, reinterpret_cast<const sockaddr*>(&where), sizeof where);
    } else {
      sockaddr_in where{};
      where.sin_family = AF_INET;
      where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      where.sin_port = htons(static_cast<uint16_t>(*parse_u64(parts[2])));
      connect_to(AF_INET, reinterpret_cast<const sockaddr*>(&where), sizeof where);
    }
  }

  std::string ask(std::string_view payload) {
    send_raw(frame(payload));
    return next_packet();
  }

  void send_raw(std::string_view bytes) {
    EXPECT_EQ(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }

  /// The next packet's payload, acknowledged, a stop reply without the registers in it; "EOF" when the connection ends.
  std::string next_packet() {
    Framer framer;
    char c = 0;
    while (read(fd_.get(), &c, 1) == 1) {
      if (framer.feed(static_cast<uint8_t>(c)) != Framer::Event::packet) continue;
      // The server may have closed after its last word.
      [[maybe_unused]] const ssize_t sent = ::send(fd_.get(), "+", 1, MSG_NOSIGNAL);
      return without_registers(framer.payload());
    }
    return "EOF";
  }

  void close() { fd_.close(); }

  /// Breaks the connection with a reset instead of an orderly end.
  void reset() {
    const linger now{1, 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    fd_.close();
  }

 private:
  void connect_to(int family, const sockaddr* where, socklen_t size) {
    fd_ = Fd(socket(family, SOCK_STREAM, 0));
    EXPECT_EQ(connect(fd_.get(), where, size), 0);
  }

  Fd fd_;
};

}  // namespace dejavm::gdb
