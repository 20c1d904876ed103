#include "vm/access_history.h"

namespace dejavm::vm {

const SeenAccess* AccessHistory::latest_in(const Place& place, const std::vector<DeviceRegion>& devices) const {
  const SeenAccess* best = nullptr;
  for (const auto& by_address : last_) {
    for (const auto& [addr, seen] : by_address) {
      bool newer = best == nullptr || seen.event > best->event;
      if (newer && place.contains(seen.access, find_region(devices, seen.access.space, addr))) best = &seen;
    }
  }
  return best;
}

std::optional<uint8_t> AccessHistory::mmio_byte(uint64_t gpa) const {
  const auto& by_address = last_[static_cast<unsigned>(Space::mmio)];
  const SeenAccess* best = nullptr;
  for (uint64_t back = 0; back < 8 && back <= gpa; ++back) {
    auto found = by_address.find(gpa - back);
    if (found == by_address.end() || found->second.access.size <= back) continue;
    if (best == nullptr || found->second.event > best->event) best = &found->second;
  }
  if (best == nullptr) return std::nullopt;
  return static_cast<uint8_t>(best->access.value >> (8 * (gpa - best->access.addr)));
}

}  // namespace dejavm::vm
