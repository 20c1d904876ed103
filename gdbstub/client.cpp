#include "gdbstub/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace dejavm::gdb {

bool Client::wait(short events, int timeout_ms) const {
  std::array<pollfd, 2> entries{{{cancel_.fd(), POLLIN, 0}, {fd_.get(), events, 0}}};
  for (;;) {
    const int ready = poll(entries.data(), entries.size(), timeout_ms);
    if (ready < 0) continue;  // a signal came
    return ready > 0 && entries[0].revents == 0;
  }
}

ByteSpan Client::receive() {
  while (!gone_ && wait(POLLIN, -1)) {
    const ByteSpan bytes = receive_now();
    if (!bytes.empty()) return bytes;
  }
  return {};
}

ByteSpan Client::receive_now() {
  const ssize_t count = read(fd_.get(), buffer_.data(), buffer_.size());
  if (count > 0) return {buffer_.data(), static_cast<size_t>(count)};
  if (count == 0 || (errno != EAGAIN && errno != EINTR)) gone_ = true;
  return {};
}

void Client::send(std::string_view bytes) {
  while (!gone_ && !bytes.empty()) {
    const ssize_t count = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) {
      bytes.remove_prefix(static_cast<size_t>(count));
    } else if (errno == EAGAIN) {
      if (!wait(POLLOUT, -1)) return;
    } else if (errno != EINTR) {
      gone_ = true;
    }
  }
}

void Client::linger() {
  constexpr int kPatienceMs = 300;
  constexpr int kMaxReads = 16;
  for (int i = 0; i < kMaxReads && !gone_ && wait(POLLIN, kPatienceMs); ++i) receive_now();
}

}  // namespace dejavm::gdb
