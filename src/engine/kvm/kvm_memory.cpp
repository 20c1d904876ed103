#include "engine/kvm/kvm_memory.h"

#include <algorithm>
#include <bit>

#include "engine/kvm/kvm_system.h"

namespace dejavm::kvm {

Status KvmMemory::sync() {
  if (synced_ && generation_ == memory_.map_generation()) return {};
  const auto& map = memory_.map();
  std::vector<Slot> kept;
  // All that goes, goes first: KVM refuses slots that overlap, also for a moment.
  for (const Slot& slot : slots_) {
    if (std::find(map.begin(), map.end(), slot.range) != map.end()) {
      kept.push_back(slot);
    } else {
      TRY(remove(slot));
    }
  }
  slots_ = std::move(kept);
  for (const vm::MemoryRange& range : map) {
    bool present = std::any_of(slots_.begin(), slots_.end(), [&](const Slot& slot) { return slot.range == range; });
    if (!present) TRY(add(range));
  }
  generation_ = memory_.map_generation();
  synced_ = true;
  return {};
}

Status KvmMemory::remove(const Slot& slot) {
  TRY(collect(slot));
  kvm_userspace_memory_region region{};
  region.slot = slot.id;
  TRY(kvm_ioctl(vm_fd_, KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION (removing a range)", &region));
  return {};
}

Status KvmMemory::add(const vm::MemoryRange& range) {
  uint32_t id = free_id();
  kvm_userspace_memory_region region{};
  region.slot = id;
  region.flags = range.writable ? KVM_MEM_LOG_DIRTY_PAGES : KVM_MEM_READONLY;
  region.guest_phys_addr = range.base.value;
  region.memory_size = range.size;
  region.userspace_addr = reinterpret_cast<uint64_t>(memory_.host(range.offset));
  auto set = kvm_ioctl(vm_fd_, KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION", &region);
  if (!set) {
    return fail(fmt::format("KVM refuses {} bytes of {} at {:#x}: {}", range.size, range.writable ? "RAM" : "ROM",
                            range.base.value, set.error().what));
  }
  slots_.push_back({id, range});
  return {};
}

uint32_t KvmMemory::free_id() const {
  uint32_t id = 0;
  auto taken = [&] { return std::any_of(slots_.begin(), slots_.end(), [&](const Slot& slot) { return slot.id == id; }); };
  while (taken()) ++id;
  return id;
}

Status KvmMemory::collect_dirty() {
  for (const Slot& slot : slots_) TRY(collect(slot));
  return {};
}

Status KvmMemory::collect(const Slot& slot) {
  if (!slot.range.writable) return {};
  uint64_t pages = slot.range.size / vm::kPageSize;
  bitmap_.assign((pages + 63) / 64, 0);
  kvm_dirty_log log{};
  log.slot = slot.id;
  log.dirty_bitmap = bitmap_.data();
  TRY(kvm_ioctl(vm_fd_, KVM_GET_DIRTY_LOG, "KVM_GET_DIRTY_LOG", &log));
  uint64_t first = slot.range.offset / vm::kPageSize;
  for (uint64_t word = 0; word < bitmap_.size(); ++word) {
    for (uint64_t bits = bitmap_[word]; bits != 0; bits &= bits - 1) {
      memory_.mark_dirty(first + word * 64 + static_cast<unsigned>(std::countr_zero(bits)));
    }
  }
  return {};
}

}  // namespace dejavm::kvm
