#include "vm/access_filter.h"

#include <algorithm>

#include "base/parse.h"

namespace dejavm::vm {

bool AccessFilter::matches(const Access& access, const DeviceRegion* region) const {
  if (direction && *direction != access.direction) return false;
  if (size && *size != access.size) return false;
  if (value && (access.value & value_mask) != (*value & value_mask)) return false;
  if (places.empty()) return true;
  return std::any_of(places.begin(), places.end(), [&](const Place& place) { return place.contains(access, region); });
}

Status parse_value(std::string_view text, AccessFilter& filter) {
  auto parts = split(text, '/');
  auto value = parse_u64(parts[0]);
  auto mask = parts.size() > 1 ? parse_u64(parts[1]) : UINT64_MAX;
  if (parts.size() > 2 || !value || !mask) {
    return fail_usage(fmt::format("'{}' is not a value", text), "Write 0x20 or, with a mask, 0x20/0xff.");
  }
  filter.value = value;
  filter.value_mask = *mask;
  return {};
}

std::string describe(const AccessFilter& filter) {
  std::string text;
  for (const Place& place : filter.places) text += fmt::format("{}{}", text.empty() ? "" : " ", place.text);
  if (filter.direction) text += *filter.direction == Direction::write ? " w" : " r";
  if (filter.size) text += fmt::format(" size {}", *filter.size);
  if (filter.value) text += fmt::format(" value {:#x}", *filter.value);
  if (filter.value && filter.value_mask != UINT64_MAX) text += fmt::format("/{:#x}", filter.value_mask);
  return text;
}

}  // namespace dejavm::vm
