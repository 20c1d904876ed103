// Ending KVM_RUN from another thread or a signal handler, without losing a kick and without mistaking one.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <ctime>

#include "base/result.h"

namespace dejavm::kvm {

/// Guards `immediate_exit` of the shared page. The vCPU thread calls the before_ functions and after(); kick() is for
/// everyone and async-signal-safe.
///
/// Why no kick is lost: kick() raises the flag, then sets immediate_exit, then sends a signal to a thread that may be inside
/// KVM_RUN. The vCPU thread clears immediate_exit first and looks at the flag afterwards; whatever the order, it either sees
/// the flag or its clearing comes before kick()'s setting. Why none is mistaken: EINTR alone means nothing, the flag does.
class KickSwitch {
 public:
  /// Installs the empty handler of the signal for this process.
  static Status install_handler();

  /// 32: the last twenty of them are a tenth of a second and more.
  static constexpr unsigned kPatience = 32;

  explicit KickSwitch(uint8_t& immediate_exit, unsigned patience = kPatience)
      : immediate_exit_(immediate_exit), patience_(patience) {}
  ~KickSwitch();
  KickSwitch(const KickSwitch&) = delete;
  KickSwitch& operator=(const KickSwitch&) = delete;

  void kick();

  /// A kick ends the coming KVM_RUN.
  void before_run();
  /// Kicks wait.
  void before_step();
  /// The coming KVM_RUN finishes what is pending and executes nothing new.
  void before_complete();
  void after() { running_.store(false); }

  bool kicked() const { return kicked_.load(); }
  /// Takes the kick, if there is one.
  bool take();
  /// Keeps the kick, but sends its signal a while later: KVM_RUN has to get as far as delivering an event first. The while
  /// grows from one to the next until the kick is taken. Other signals in between change nothing.
  Status postpone();
  /// As many whiles have gone by as `patience` says: the guest is not going to get there.
  bool waits_in_vain() const { return gone_by_ >= patience_; }

 private:
  static constexpr long kFirstDelayNs = 20'000, kLongDelayNs = 100'000'000;

  void enter_thread();
  Status make_timer();

  uint8_t& immediate_exit_;
  std::atomic<bool> kicked_ = false;
  std::atomic<bool> running_ = false;
  std::atomic<pid_t> thread_ = 0;
  pthread_t thread_handle_{};  // of thread_; the vCPU thread's own
  timer_t timer_{};
  pid_t timer_thread_ = 0;  // 0: there is no timer
  long delay_ns_ = kFirstDelayNs;
  bool postponed_ = false;  // the timer was started for this kick
  unsigned patience_, gone_by_ = 0;
};

}  // namespace dejavm::kvm
