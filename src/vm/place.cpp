#include "vm/place.h"

#include <fmt/ranges.h>

#include <set>

#include "base/parse.h"

namespace dejavm::vm {
namespace {

struct Range {
  uint64_t first, last;
};

Result<Range> parse_range(std::string_view text) {
  size_t dash = text.find('-');
  auto first = parse_u64(text.substr(0, dash));
  auto last = dash == std::string_view::npos ? first : parse_u64(text.substr(dash + 1));
  if (!first || !last || *last < *first) {
    return fail_usage(fmt::format("'{}' is not an address or a range", text), "Write 0xfebc0000 or 0xfebc0000-0xfebc0fff.");
  }
  return Range{*first, *last};
}

}  // namespace

bool Place::contains(const Access& access, const DeviceRegion* region) const {
  uint64_t start = access.addr;
  if (!device.empty()) {
    if (region == nullptr || region->device != device) return false;
    if (only_space.value_or(access.space) != access.space) return false;
    if (only_region.value_or(region->region) != region->region) return false;
    start = access.addr - region->base + region->offset;
  } else if (access.space != space) {
    return false;
  }
  return start <= last && start + access.size - 1 >= first;
}

Result<Place> parse_place(std::string_view text, const std::vector<DeviceRegion>& devices) {
  Place place;
  place.text = text;
  if (!text.empty() && text[0] >= '0' && text[0] <= '9') {
    TRY_ASSIGN(Range range, parse_range(text));
    place.first = range.first;
    place.last = range.last;
    return place;
  }
  if (text.starts_with("port:")) {
    TRY_ASSIGN(Range range, parse_range(text.substr(5)));
    place.space = Space::pio;
    place.first = range.first;
    place.last = range.last;
    return place;
  }
  size_t plus = text.find('+');
  place.device = text.substr(0, plus);
  std::set<std::string> names;
  for (const DeviceRegion& region : devices) names.insert(region.device);
  if (!names.contains(place.device)) {
    return fail_usage(
        fmt::format("there is no device '{}'", place.device),
        fmt::format("Devices here: {}. Addresses are written 0xfebc0000 or port:0x3f8.", fmt::join(names, ", ")));
  }
  place.last = UINT64_MAX;
  if (plus != std::string_view::npos) {
    TRY_ASSIGN(Range range, parse_range(text.substr(plus + 1)));
    place.first = range.first;
    place.last = range.last;
  }
  return place;
}

const DeviceRegion* find_region(const std::vector<DeviceRegion>& devices, Space space, uint64_t addr) {
  for (const DeviceRegion& region : devices) {
    if (region.space == space && addr - region.base < region.size) return &region;
  }
  return nullptr;
}

std::string place_name(const Access& access, const DeviceRegion* region) {
  if (region != nullptr) return fmt::format("{}+{:#x}", region->device, access.addr - region->base + region->offset);
  return fmt::format("{}{:#x}", access.space == Space::pio ? "port:" : "", access.addr);
}

}  // namespace dejavm::vm
