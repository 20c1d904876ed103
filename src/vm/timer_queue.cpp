#include "vm/timer_queue.h"

namespace dejavm::vm {

uint64_t TimerQueue::now_ns() const {
  if (!holds_) return time_ns();
  if (!moment_) moment_ = time_ns();
  return *moment_;
}

void TimerQueue::stop() {
  if (!stopped_at_) stopped_at_ = clock_.now_ns();
}

void TimerQueue::start() {
  if (!stopped_at_) return;
  origin_ += clock_.now_ns() - *stopped_at_;
  stopped_at_.reset();
}

TimerQueue::Id TimerQueue::arm(uint64_t deadline_ns, std::function<void()> callback) {
  Id id = ++last_id_;
  pending_.emplace(std::make_pair(deadline_ns, id), std::move(callback));
  deadlines_.emplace(id, deadline_ns);
  return id;
}

void TimerQueue::cancel(Id id) {
  auto found = deadlines_.find(id);
  if (found == deadlines_.end()) return;
  pending_.erase({found->second, id});
  deadlines_.erase(found);
}

std::optional<uint64_t> TimerQueue::next_deadline_ns() const {
  if (pending_.empty()) return std::nullopt;
  return pending_.begin()->first.first;
}

void TimerQueue::run_due(uint64_t now_ns) {
  Moment moment(*this);
  moment_ = now_ns;
  while (!pending_.empty() && pending_.begin()->first.first <= now_ns) {
    auto first = pending_.begin();
    auto callback = std::move(first->second);
    deadlines_.erase(first->first.second);
    pending_.erase(first);
    callback();
  }
}

}  // namespace dejavm::vm
