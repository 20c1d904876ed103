#include "gdbstub/watcher.h"

#include <poll.h>
#include <pthread.h>

#include <array>
#include <csignal>

namespace dejavm::gdb {

Watcher::Watcher(Target& target, int fd, const SignalFd& cancel, const SignalFd& done, std::function<bool()> look)
    : target_(target), done_(done) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this, fd, &cancel, look = std::move(look)] { watch(fd, cancel, look); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Watcher::~Watcher() { finish(); }

bool Watcher::finish() {
  if (thread_.joinable()) {
    done_.raise();
    thread_.join();
    done_.clear();
  }
  return interrupted_;
}

void Watcher::watch(int fd, const SignalFd& cancel, const std::function<bool()>& look) {
  std::array<pollfd, 3> entries{{{done_.fd(), POLLIN, 0}, {cancel.fd(), POLLIN, 0}, {fd, POLLIN, 0}}};
  for (;;) {
    if (poll(entries.data(), entries.size(), -1) < 0) continue;
    if (entries[0].revents != 0) return;
    if (entries[1].revents != 0) break;
    if (entries[2].revents != 0 && look()) break;
  }
  interrupt_until_done();
}

void Watcher::interrupt_until_done() {
  constexpr int kAgainMs = 20;
  interrupted_ = true;
  pollfd done{done_.fd(), POLLIN, 0};
  // Again and again, because the first call may come before the guest runs.
  do target_.interrupt();
  while (poll(&done, 1, kAgainMs) <= 0);
}

}  // namespace dejavm::gdb
