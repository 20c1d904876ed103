#include "vm/access_breaks.h"

#include <algorithm>

namespace dejavm::vm {

std::string stop_line(const SeenAccess& seen, const DeviceRegion* region) {
  const Access& access = seen.access;
  std::string rip = seen.instruction ? fmt::format("{:#x}", *seen.instruction) : "unknown";
  return fmt::format("{}: {} {} {:#x} ({} byte{}) at {:#x}, rip {}, {}", access.space == Space::pio ? "pio" : "mmio",
                     place_name(access, region), access.is_write() ? "<-" : "->", access.value, access.size,
                     access.size == 1 ? "" : "s", access.addr, rip,
                     seen.recorded ? fmt::format("event {}", seen.event) : "in a diversion");
}

unsigned AccessBreaks::add(AccessFilter filter, uint64_t skip, std::function<std::optional<Place>()> resolve) {
  breaks_.push_back({++last_id_, std::move(filter), skip, 0, std::move(resolve)});
  return last_id_;
}

bool AccessBreaks::remove(unsigned id) {
  return std::erase_if(breaks_, [&](const AccessBreak& b) { return b.id == id; }) > 0;
}

const AccessBreak* AccessBreaks::check(const SeenAccess& seen, const std::vector<DeviceRegion>& devices) {
  if (breaks_.empty()) return nullptr;
  const DeviceRegion* region = find_region(devices, seen.access.space, seen.access.addr);
  const AccessBreak* stop = nullptr;
  for (AccessBreak& candidate : breaks_) {
    if (candidate.resolve) {
      auto place = candidate.resolve();
      if (!place) continue;
      candidate.filter.places = {*place};
      candidate.resolve = nullptr;
    }
    if (!candidate.filter.matches(seen.access, region)) continue;
    ++candidate.hits;
    if (candidate.hits > candidate.skip && stop == nullptr) stop = &candidate;
  }
  return stop;
}

}  // namespace dejavm::vm
