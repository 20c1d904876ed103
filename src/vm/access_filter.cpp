#include "vm/access_filter.h"

#include <algorithm>

#include "base/parse.h"

namespace dejavm::vm {

namespace {

bool field_matches(const AccessFilter::Field& field, const Access& access, const DeviceRegion* region) {
  if (region == nullptr) return false;
  uint64_t start = access.addr - region->base + region->offset;
  uint64_t mask = field.mask << field.lsb, covered = access.size >= 8 ? UINT64_MAX : (uint64_t{1} << 8 * access.size) - 1;
  uint64_t value = access.value;
  if (start >= field.offset) {
    uint64_t shift = start - field.offset;
    if (shift >= 8) return false;
    covered <<= 8 * shift;
    value <<= 8 * shift;
  } else {
    uint64_t shift = field.offset - start;
    if (shift >= 8) return false;
    covered >>= 8 * shift;
    value >>= 8 * shift;
  }
  if ((covered & mask) != mask) return false;
  return !field.value || (value & mask) >> field.lsb == *field.value;
}

}  // namespace

bool AccessFilter::matches(const Access& access, const DeviceRegion* region) const {
  if (direction && *direction != access.direction) return false;
  if (size && *size != access.size) return false;
  if (value && (access.value & value_mask) != (*value & value_mask)) return false;
  if (field && !field_matches(*field, access, region)) return false;
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
  if (filter.field && filter.field->value) text += fmt::format(" {:#x}", *filter.field->value);
  if (filter.value) text += fmt::format(" value {:#x}", *filter.value);
  if (filter.value && filter.value_mask != UINT64_MAX) text += fmt::format("/{:#x}", filter.value_mask);
  return text;
}

}  // namespace dejavm::vm
