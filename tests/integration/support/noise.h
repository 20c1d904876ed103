// What disturbs a recorder: busy cores, and signals at random moments.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "support/process.h"

namespace dejavm::integration {

/// Two processes that never sleep, while it lives.
class BusyCores {
 public:
  BusyCores();

 private:
  std::vector<std::unique_ptr<Process>> hogs_;
};

/// Stops and continues a process at random moments, while it lives: each pair of signals interrupts what its threads are
/// doing, KVM_RUN and system calls alike. A process that has ended meanwhile is left alone, and so is who has its number
/// now.
class SignalStorm {
 public:
  SignalStorm(pid_t victim, unsigned seed);
  ~SignalStorm();
  SignalStorm(const SignalStorm&) = delete;
  SignalStorm& operator=(const SignalStorm&) = delete;

 private:
  void signal(int number) const;

  Fd victim_;
  std::atomic<bool> quit_{false};
  std::thread thread_;
};

}  // namespace dejavm::integration
