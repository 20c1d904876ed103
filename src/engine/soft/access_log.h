// What the current instruction has already got from outside. An instruction that needs a device is abandoned, the access is
// carried out by whoever runs the vCPU, and the instruction runs again from its start with the answers that are in here
// (docs/determinism.md, "positions").
#pragma once

#include <cstdint>
#include <vector>

#include "base/check.h"
#include "engine/soft/fault.h"
#include "vm/access.h"
#include "vm/vcpu.h"

namespace dejavm::soft {

/// Invariant: the entries before `next_` have been consumed by the instruction in this attempt; at most the last entry waits
/// for its answer. The instruction makes the same accesses in every attempt, because nothing but the answers changes.
class AccessLog {
 public:
  /// The value of a read (0 for a write) when it was answered in an earlier attempt; else throws LeaveForAnswer, and
  /// waiting_for() is the access.
  uint64_t exchange(const vm::Access& access) {
    if (next_ < entries_.size()) {
      Entry& entry = entries_[next_++];
      CHECK(entry.answered);
      return entry.access.value;
    }
    leave_for(access);
    throw LeaveForAnswer{};
  }
  /// The same for one that was not made in an earlier attempt, by a caller that leaves without the exception.
  void leave_for(const vm::Access& access) { entries_.push_back({access, false}); }

  /// The access that the last attempt left for, or null.
  const vm::Access* waiting_for() const {
    return !entries_.empty() && !entries_.back().answered ? &entries_.back().access : nullptr;
  }
  /// How many accesses of this instruction have been carried out.
  size_t answered() const { return entries_.size() - (waiting_for() != nullptr ? 1 : 0); }
  void answer(uint64_t value) {
    Entry& entry = entries_.back();
    entry.answered = true;
    entry.access.value = entry.access.is_write() ? 0 : value & (~uint64_t{0} >> (64 - 8 * entry.access.size));
  }

  /// A new attempt begins.
  void rewind() { next_ = 0; }
  /// The instruction completed (or faulted): forget.
  void clear() {
    entries_.clear();
    next_ = 0;
  }
  bool empty() const { return entries_.empty(); }

 private:
  struct Entry {
    vm::Access access;
    bool answered;
  };
  std::vector<Entry> entries_;
  size_t next_ = 0;
};

}  // namespace dejavm::soft
