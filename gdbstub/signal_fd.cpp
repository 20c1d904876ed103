#include "gdbstub/signal_fd.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace dejavm::gdb {

Result<SignalFd> SignalFd::create() {
  Fd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return fail_errno("cannot make an eventfd for the gdb stub");
  return SignalFd(std::move(fd));
}

void SignalFd::raise() const {
  const uint64_t one = 1;
  // Fails only when the counter is full, and then the flag is up already.
  [[maybe_unused]] const ssize_t written = write(fd_.get(), &one, sizeof one);
}

void SignalFd::clear() const {
  uint64_t count = 0;
  // Fails only when the flag is down already.
  [[maybe_unused]] const ssize_t taken = read(fd_.get(), &count, sizeof count);
}

bool SignalFd::raised() const {
  pollfd entry{fd_.get(), POLLIN, 0};
  return poll(&entry, 1, 0) > 0;
}

}  // namespace dejavm::gdb
