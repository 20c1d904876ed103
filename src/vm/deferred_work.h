// Work that a device access starts and that must wait until the accessing instruction has completed.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "vm/address.h"
#include "vm/guest_memory.h"

namespace dejavm::vm {

/// A queue that the session drains at a consistent point. What runs there (and in timers) may do DMA and change the memory
/// map.
class DeferredWork {
 public:
  void post(std::function<void()> work) { queue_.push_back(std::move(work)); }
  bool empty() const { return queue_.empty(); }
  /// Runs everything, also what the work itself posts.
  void run() {
    while (!queue_.empty()) {
      auto batch = std::exchange(queue_, {});
      for (auto& work : batch) work();
    }
  }

 private:
  std::vector<std::function<void()>> queue_;
};

/// A bus-mastering device's view of guest memory. Use it from deferred work and timers only.
class Dma {
 public:
  explicit Dma(GuestMemory& memory) : memory_(memory) {}
  /// False, and nothing is copied, where any byte is not memory.
  bool read(uint64_t gpa, MutableByteSpan to) const { return memory_.read({gpa}, to).has_value(); }
  bool write(uint64_t gpa, ByteSpan from) { return memory_.write({gpa}, from, Writer::device).has_value(); }

 private:
  GuestMemory& memory_;
};

}  // namespace dejavm::vm
