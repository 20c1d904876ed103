#include "support/noise.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <random>

namespace dejavm::integration {

BusyCores::BusyCores() {
  for (int i = 0; i < 2; ++i) hogs_.push_back(std::make_unique<Process>(Words{"sh", "-c", "while :; do :; done"}));
}

SignalStorm::SignalStorm(pid_t victim, unsigned seed)
    : victim_(static_cast<int>(::syscall(SYS_pidfd_open, victim, 0))), thread_([this, seed] {
        std::mt19937 random(seed);
        while (!quit_.load()) {
          std::this_thread::sleep_for(std::chrono::microseconds(random() % 20000));
          signal(SIGSTOP);
          std::this_thread::sleep_for(std::chrono::microseconds(random() % 500));
          signal(SIGCONT);
        }
      }) {}

void SignalStorm::signal(int number) const { ::syscall(SYS_pidfd_send_signal, victim_.get(), number, nullptr, 0); }

SignalStorm::~SignalStorm() {
  quit_.store(true);
  thread_.join();
}

}  // namespace dejavm::integration
