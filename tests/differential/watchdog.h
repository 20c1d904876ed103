// Ends runs that do not end by themselves.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

#include "vm/vcpu.h"

namespace dejavm::differential {

/// Kicks a vCPU out of a run that lasts longer than kPatience to twice that. Owns a thread.
class Watchdog {
 public:
  static constexpr auto kPatience = std::chrono::milliseconds(20);

  explicit Watchdog(vm::Vcpu& vcpu)
      : thread_([this, &vcpu] {
          uint64_t seen = 0;
          while (!quit_.load()) {
            uint64_t now = running_.load();
            if (now != 0 && now == seen) {
              kicked_.store(true);
              vcpu.kick();
            }
            seen = now;
            std::this_thread::sleep_for(kPatience);
          }
        }) {}
  ~Watchdog() {
    quit_.store(true);
    thread_.join();
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void begin() {
    kicked_.store(false);
    running_.store(++runs_);
  }
  void end() { running_.store(0); }
  /// Since begin().
  bool kicked() const { return kicked_.load(); }

 private:
  std::atomic<uint64_t> running_{0};  // which run, 0 between runs
  uint64_t runs_ = 0;
  std::atomic<bool> quit_{false}, kicked_{false};
  std::thread thread_;
};

}  // namespace dejavm::differential
