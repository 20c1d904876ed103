#include "engine/kvm/kvm_kick.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace dejavm::kvm {
namespace {

/// A realtime signal that debuggers and profilers leave alone.
int kick_signal() { return SIGRTMIN + 6; }

void ignore_signal(int) {}

std::atomic_ref<uint8_t> shared(uint8_t& byte) { return std::atomic_ref<uint8_t>(byte); }

}  // namespace

Status KickSwitch::install_handler() {
  struct sigaction action {};
  action.sa_handler = ignore_signal;  // without SA_RESTART: KVM_RUN has to return
  sigemptyset(&action.sa_mask);
  if (::sigaction(kick_signal(), &action, nullptr) != 0) return fail_errno("cannot install the signal that stops a vCPU");
  return {};
}

KickSwitch::~KickSwitch() {
  if (timer_thread_ != 0) ::timer_delete(timer_);
}

void KickSwitch::kick() {
  kicked_.store(true);
  shared(immediate_exit_).store(1);
  if (!running_.load()) return;
  int saved = errno;
  ::syscall(SYS_tgkill, ::getpid(), thread_.load(), kick_signal());
  errno = saved;
}

void KickSwitch::enter_thread() {
  pthread_t self = ::pthread_self();
  if (thread_.load(std::memory_order_relaxed) == 0 || ::pthread_equal(self, thread_handle_) == 0) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, kick_signal());
    ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    thread_handle_ = self;
    thread_.store(::gettid());
  }
  running_.store(true);
}

void KickSwitch::before_run() {
  enter_thread();
  shared(immediate_exit_).store(0);
  if (kicked_.load()) shared(immediate_exit_).store(1);
}

void KickSwitch::before_step() {
  enter_thread();
  shared(immediate_exit_).store(0);
}

void KickSwitch::before_complete() {
  enter_thread();
  shared(immediate_exit_).store(1);
}

bool KickSwitch::take() {
  delay_ns_ = kFirstDelayNs;
  postponed_ = false;
  gone_by_ = 0;
  return kicked_.exchange(false);
}

/// Of this thread.
Status KickSwitch::make_timer() {
  if (timer_thread_ != 0) ::timer_delete(timer_);
  timer_thread_ = 0;
  postponed_ = false;
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = kick_signal();
  event._sigev_un._tid = thread_.load();
  if (::timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0) return fail_errno("cannot create a timer for a vCPU");
  timer_thread_ = thread_.load();
  return {};
}

Status KickSwitch::postpone() {
  if (timer_thread_ != thread_.load()) TRY(make_timer());
  if (postponed_) {
    itimerspec left{};
    if (::timer_gettime(timer_, &left) != 0) return fail_errno("cannot read the timer of a vCPU");
    if (left.it_value.tv_sec != 0 || left.it_value.tv_nsec != 0) return {};
    ++gone_by_;
    if (delay_ns_ < kLongDelayNs) delay_ns_ *= 2;
  }
  postponed_ = true;
  itimerspec when{};
  when.it_value.tv_nsec = delay_ns_;
  if (::timer_settime(timer_, 0, &when, nullptr) != 0) return fail_errno("cannot start the timer of a vCPU");
  return {};
}

}  // namespace dejavm::kvm
