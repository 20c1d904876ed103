#include "vm/register_map.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/parse.h"

namespace dejavm::vm {
namespace {

uint64_t ones(unsigned bits) { return bits >= 64 ? UINT64_MAX : (uint64_t{1} << bits) - 1; }

std::string names_of(const auto& named) {
  std::vector<std::string> names;
  for (const auto& one : named) names.push_back(one.name);
  return fmt::format("{}", fmt::join(names, " "));
}

/// "EN|CT=16": what is not zero, of the fields that lie in `covered`.
std::string fields_text(const Register& reg, uint64_t value, uint64_t covered) {
  std::vector<std::string> parts;
  for (const RegisterField& field : reg.fields) {
    uint64_t mask = ones(field.width) << field.lsb;
    uint64_t bits = (value & mask) >> field.lsb;
    if ((covered & mask) != mask || bits == 0) continue;
    parts.push_back(field.width == 1 ? field.name : fmt::format("{}={}", field.name, bits));
  }
  return parts.empty() ? "" : fmt::format(" ({})", fmt::join(parts, "|"));
}

}  // namespace

bool RegisterMap::is_for(std::string_view device_name) const {
  if (!device_name.starts_with(device)) return false;
  std::string_view number = device_name.substr(device.size());
  if (number.starts_with('-')) number.remove_prefix(1);
  return std::ranges::all_of(number, [](char c) { return c >= '0' && c <= '9'; });
}

const Register* RegisterMap::find(uint64_t offset, Direction direction) const {
  auto found = std::ranges::find_if(registers, [&](const Register& reg) {
    return offset >= reg.offset && offset - reg.offset < reg.size &&
           (direction == Direction::write ? reg.writable : reg.readable);
  });
  return found == registers.end() ? nullptr : &*found;
}

const Register* RegisterMap::find(std::string_view name) const {
  auto found = std::ranges::find(registers, name, &Register::name);
  return found == registers.end() ? nullptr : &*found;
}

const RegisterMap* RegisterMaps::of(std::string_view device) const {
  auto found = std::find_if(maps_.rbegin(), maps_.rend(), [&](const RegisterMap& map) { return map.is_for(device); });
  return found == maps_.rend() ? nullptr : &*found;
}

std::string RegisterMaps::describe(const Access& access, const DeviceRegion* region) const {
  const RegisterMap* map = region != nullptr ? of(region->device) : nullptr;
  if (map == nullptr || map->space.value_or(access.space) != access.space) return {};
  if (map->region.value_or(region->region) != region->region) return {};
  uint64_t offset = access.addr - region->base + region->offset;
  const Register* reg = map->find(offset, access.direction);
  if (reg == nullptr) return {};
  auto inside = static_cast<unsigned>(offset - reg->offset);
  std::string name = inside == 0 ? reg->name : fmt::format("{}+{}", reg->name, inside);
  return fmt::format("{}.{} {} {:#x}{}", region->device, name, access.is_write() ? "<-" : "->", access.value,
                     fields_text(*reg, access.value << 8 * inside, ones(8u * access.size) << 8 * inside));
}

bool RegisterMaps::names_register(std::string_view text, const std::vector<DeviceRegion>& devices) const {
  std::string_view device = text.substr(0, text.find('.'));
  return device.size() < text.size() && std::ranges::count(devices, device, &DeviceRegion::device) > 0;
}

Status RegisterMaps::parse(std::string_view text, const std::vector<DeviceRegion>& devices, AccessFilter& filter) const {
  auto parts = split(text, '.');
  TRY_ASSIGN(Place place, parse_place(parts[0], devices));
  const RegisterMap* map = of(parts[0]);
  if (map == nullptr)
    return fail_usage(fmt::format("the registers of {} have no names here", parts[0]), "Give a map: --svd FILE@DEVICE.");
  const Register* reg = parts.size() > 1 ? map->find(parts[1]) : nullptr;
  if (reg == nullptr || parts.size() > 3) {
    return fail_usage(fmt::format("'{}' is no register of {}", text.substr(parts[0].size() + 1), parts[0]),
                      "Registers: " + names_of(map->registers));
  }
  place.text = text;
  place.first = reg->offset;
  place.last = reg->offset + (reg->size - 1);
  place.only_space = map->space;
  place.only_region = map->region;
  filter.places = {place};
  if (!reg->writable) filter.direction = Direction::read;
  if (!reg->readable) filter.direction = Direction::write;
  if (parts.size() < 3) return {};
  auto field = std::ranges::find(reg->fields, parts[2], &RegisterField::name);
  if (field == reg->fields.end()) {
    return fail_usage(fmt::format("'{}' is no field of {}.{}", parts[2], parts[0], reg->name),
                      reg->fields.empty() ? "It has none." : "Fields: " + names_of(reg->fields));
  }
  filter.field = AccessFilter::Field{reg->offset, field->lsb, ones(field->width), std::nullopt};
  return {};
}

}  // namespace dejavm::vm
