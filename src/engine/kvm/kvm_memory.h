// KVM's memory slots, kept equal to GuestMemory's map, and their dirty logs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "vm/guest_memory.h"

namespace dejavm::kvm {

/// Owns the slots of one VM; borrows its descriptor and the memory. Invariant: each slot is one range of the map that was
/// last seen, and no dirty bit is lost when a slot goes.
///
/// A page that is watched for writes costs the guest a fault at its next one, which is worth many hashes of the page. So
/// where KVM lets us choose (Linux, Documentation/virt/kvm/api.rst, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2), those that are found
/// written a second time are not watched and always count as dirty, until watch_again().
class KvmMemory {
 public:
  /// `chooses`: the VM was made with KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2.
  KvmMemory(int vm_fd, vm::GuestMemory& memory, bool chooses) : vm_fd_(vm_fd), memory_(memory), chooses_(chooses) {}

  /// Follows the map if it changed since the last call; slots whose range stayed are left alone.
  Status sync();
  /// Adds the pages that the guest may have written since the last call to the memory's dirty set.
  Status collect_dirty();
  /// See vm::Vcpu.
  void watch_again(std::span<const uint64_t> pages);

 private:
  using Bitmap = std::vector<uint64_t>;  // a bit for each page of a slot
  struct Slot {
    uint32_t id = 0;
    vm::MemoryRange range;
    Bitmap written;  // once since it is watched
    Bitmap busy;     // not watched
  };

  Status remove(Slot& slot);
  Status add(const vm::MemoryRange& range);
  Status collect(Slot& slot);
  Status watch(Slot& slot);
  uint32_t free_id() const;

  int vm_fd_;
  vm::GuestMemory& memory_;
  std::vector<Slot> slots_;
  bool synced_ = false;
  uint64_t generation_ = 0;
  bool chooses_;
  Bitmap bitmap_;  // kept to save allocations
};

}  // namespace dejavm::kvm
