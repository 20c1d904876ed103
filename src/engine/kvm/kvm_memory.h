// KVM's memory slots, kept equal to GuestMemory's map, and their dirty logs.
#pragma once

#include <cstdint>
#include <vector>

#include "vm/guest_memory.h"

namespace dejavm::kvm {

/// Owns the slots of one VM; borrows its descriptor and the memory. Invariant: each slot is one range of the map that was
/// last seen, and no dirty bit is lost when a slot goes.
class KvmMemory {
 public:
  KvmMemory(int vm_fd, vm::GuestMemory& memory) : vm_fd_(vm_fd), memory_(memory) {}

  /// Follows the map if it changed since the last call; slots whose range stayed are left alone.
  Status sync();
  /// Adds the pages that the guest wrote since the last call to the memory's dirty set.
  Status collect_dirty();

 private:
  struct Slot {
    uint32_t id = 0;
    vm::MemoryRange range;
  };

  Status remove(const Slot& slot);
  Status add(const vm::MemoryRange& range);
  Status collect(const Slot& slot);
  uint32_t free_id() const;

  int vm_fd_;
  vm::GuestMemory& memory_;
  std::vector<Slot> slots_;
  bool synced_ = false;
  uint64_t generation_ = 0;
  std::vector<uint64_t> bitmap_;  // kept to save allocations
};

}  // namespace dejavm::kvm
