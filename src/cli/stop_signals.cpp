#include "cli/stop_signals.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace dejavm::cli {
namespace {

void raise_event(const Fd& fd) {
  uint64_t one = 1;
  static_cast<void>(!::write(fd.get(), &one, sizeof one));
}

}  // namespace

Result<std::unique_ptr<StopSignals>> StopSignals::create(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (int number : signals) sigaddset(&set, number);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  Fd arriving(::signalfd(-1, &set, SFD_CLOEXEC));
  Fd stop(::eventfd(0, EFD_CLOEXEC)), quit(::eventfd(0, EFD_CLOEXEC));
  if (!arriving || !stop || !quit) return fail_errno("cannot watch for signals");
  std::unique_ptr<StopSignals> self(new StopSignals(std::move(arriving), std::move(stop), std::move(quit)));
  self->thread_ = std::thread([raw = self.get()] { raw->loop(); });
  return self;
}

StopSignals::~StopSignals() {
  raise_event(quit_);
  thread_.join();
}

void StopSignals::loop() {
  for (;;) {
    pollfd polled[] = {{signals_.get(), POLLIN, 0}, {quit_.get(), POLLIN, 0}};
    if (::poll(polled, 2, -1) < 0) continue;
    if (polled[1].revents != 0) return;
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof info) != sizeof info) continue;
    raise_event(stop_);
    if (callback_) callback_();
  }
}

}  // namespace dejavm::cli
