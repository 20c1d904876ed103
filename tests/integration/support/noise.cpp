#include "support/noise.h"

#include <csignal>
#include <random>

namespace dejavm::integration {

BusyCores::BusyCores() {
  for (int i = 0; i < 2; ++i) hogs_.push_back(std::make_unique<Process>(Words{"sh", "-c", "while :; do :; done"}));
}

SignalStorm::SignalStorm(pid_t victim, unsigned seed)
    : thread_([this, victim, seed] {
        std::mt19937 random(seed);
        while (!quit_.load()) {
          std::this_thread::sleep_for(std::chrono::microseconds(random() % 20000));
          ::kill(victim, SIGSTOP);
          std::this_thread::sleep_for(std::chrono::microseconds(random() % 500));
          ::kill(victim, SIGCONT);
        }
      }) {}

SignalStorm::~SignalStorm() {
  quit_.store(true);
  thread_.join();
}

}  // namespace dejavm::integration
