#include "gdbstub/watcher.h"

#include <pthread.h>

#include <csignal>

namespace dejavm::gdb {

Watcher::Watcher(Target& target, std::vector<Watched> watched, const SignalFd& cancel, const SignalFd& done)
    : target_(target), done_(done) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this, &cancel, watched = std::move(watched)] { watch(watched, cancel); });
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

void Watcher::watch(const std::vector<Watched>& watched, const SignalFd& cancel) {
  std::vector<pollfd> entries{{done_.fd(), POLLIN, 0}, {cancel.fd(), POLLIN, 0}};
  const size_t first = entries.size();
  for (const Watched& one : watched) entries.push_back(one.what);
  for (bool seen = false; !seen;) {
    if (poll(entries.data(), entries.size(), -1) < 0) continue;
    if (entries[0].revents != 0) return;
    seen = entries[1].revents != 0;
    for (size_t i = 0; i < watched.size(); ++i) seen = (entries[first + i].revents != 0 && watched[i].look()) || seen;
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
