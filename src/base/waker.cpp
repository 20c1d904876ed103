#include "base/waker.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>

namespace dejavm {
namespace {

constexpr uint64_t kShortestSleepNs = 50'000;  // the clock need not be the host's, and may stand still

}  // namespace

Result<std::unique_ptr<Waker>> Waker::create(const Clock& clock, std::function<void()> kick) {
  Fd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return fail_errno("cannot create an eventfd");
  std::unique_ptr<Waker> waker(new Waker(clock, std::move(kick), std::move(event)));
  // Signals are the vCPU thread's: they must not be taken here.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  waker->thread_ = std::thread([raw = waker.get()] { raw->loop(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return waker;
}

Waker::Waker(const Clock& clock, std::function<void()> kick, Fd event)
    : clock_(clock), kick_(std::move(kick)), event_(std::move(event)) {}

Waker::~Waker() {
  {
    std::lock_guard lock(mutex_);
    quit_ = true;
  }
  ring();
  thread_.join();
}

void Waker::ring() {
  uint64_t one = 1;
  static_cast<void>(!::write(event_.get(), &one, sizeof one));
}

void Waker::watch(int fd) {
  std::lock_guard lock(mutex_);
  fds_.push_back(fd);
  ring();
}

void Waker::unwatch(int fd) {
  std::lock_guard lock(mutex_);
  std::erase(fds_, fd);
}

void Waker::set_deadline(std::optional<uint64_t> ns, uint64_t grace_ns) {
  std::lock_guard lock(mutex_);
  uint64_t kick = ns ? *ns + std::min(grace_ns, UINT64_MAX - *ns) : 0;
  if (deadline_ == ns && deadline_kick_ == kick) return;
  std::optional<uint64_t> kick_before = attention() ? kick_at_ : std::nullopt;  // what came while the caller was busy
  bool sooner = ns && (!kick_at_ || kick < *kick_at_);
  deadline_ = ns;
  deadline_kick_ = kick;
  kick_at_ = ns ? std::optional(kick) : std::nullopt;
  if (kick_before) kick_at_ = kick_at_ ? std::min(*kick_at_, *kick_before) : kick_before;
  if (sooner) ring();
}

void Waker::demand() {
  attention_.store(true, std::memory_order_release);
  {
    std::lock_guard lock(mutex_);
    changed_.notify_all();
  }
  kick_();
}

void Waker::rearm() {
  std::lock_guard lock(mutex_);
  attention_.store(false, std::memory_order_release);
  kick_at_ = deadline_ ? std::optional(deadline_kick_) : std::nullopt;
  if (fds_armed_) return;
  fds_armed_ = true;
  ring();
}

void Waker::wait() {
  std::unique_lock lock(mutex_);
  while (!attention()) {
    if (!deadline_) {
      changed_.wait(lock);
      continue;
    }
    uint64_t now = clock_.now_ns();
    if (now >= *deadline_) return;
    changed_.wait_for(lock, std::chrono::nanoseconds(*deadline_ - now));
  }
}

void Waker::loop() {
  std::vector<pollfd> polled;
  for (;;) {
    std::optional<timespec> timeout;
    bool due = false;
    {
      std::lock_guard lock(mutex_);
      if (quit_) return;
      polled.assign(1, {event_.get(), POLLIN, 0});
      if (fds_armed_) {
        for (int fd : fds_) polled.push_back({fd, POLLIN, 0});
      }
      if (kick_at_) {
        uint64_t now = clock_.now_ns();
        due = now >= *kick_at_;
        if (due) kick_at_ = now + kGraceNs;  // again, should it go unheard
        uint64_t left = std::max(*kick_at_ - now, kShortestSleepNs);
        timeout = timespec{static_cast<time_t>(left / kNsPerSecond), static_cast<long>(left % kNsPerSecond)};
      }
    }
    if (due) kick_();
    ::ppoll(polled.data(), polled.size(), timeout ? &*timeout : nullptr, nullptr);
    uint64_t rings = 0;
    if (polled[0].revents != 0) static_cast<void>(!::read(event_.get(), &rings, sizeof rings));
    bool ready = std::any_of(polled.begin() + 1, polled.end(), [](const pollfd& p) { return p.revents != 0; });
    if (!ready) continue;
    std::lock_guard lock(mutex_);
    fds_armed_ = false;
    uint64_t soon = clock_.now_ns() + kGraceNs;
    kick_at_ = kick_at_ ? std::min(*kick_at_, soon) : soon;
    attention_.store(true, std::memory_order_release);
    changed_.notify_all();
  }
}

}  // namespace dejavm
