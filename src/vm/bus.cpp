#include "vm/bus.h"

#include <algorithm>
#include <bit>

#include "base/bytes.h"

namespace dejavm::vm {

Status Bus::map(Device& device, unsigned region, Space space, uint64_t base, uint64_t size, unsigned max_access,
                uint64_t offset) {
  if (size == 0 || base > UINT64_MAX - (size - 1)) {
    return fail(fmt::format("{} cannot answer at {:#x}+{:#x}", device.name(), base, size));
  }
  Table& mappings = table(space);
  auto after = mappings.upper_bound(base);
  const Mapping* clash = nullptr;
  if (after != mappings.end() && after->first - base < size) clash = &after->second;
  if (after != mappings.begin()) {
    const Mapping& before = std::prev(after)->second;
    if (base - before.region.base < before.region.size) clash = &before;
  }
  if (clash != nullptr) {
    return fail(fmt::format("{} at {:#x}+{:#x} overlaps {} at {:#x}", device.name(), base, size, clash->region.device,
                            clash->region.base));
  }
  mappings[base] = {&device, {std::string(device.name()), region, space, base, size, offset}, max_access};
  ++generation_;
  last_ = nullptr;
  return {};
}

void Bus::unmap(Device& device, Space space, uint64_t base) {
  Table& mappings = table(space);
  auto found = mappings.find(base);
  if (found == mappings.end() || found->second.device != &device) return;
  mappings.erase(found);
  ++generation_;
  last_ = nullptr;
}

void Bus::announce(const Device& device) {
  announced_.push_back(&device);
  ++generation_;
}

const Bus::Mapping* Bus::find(Space space, uint64_t addr) const {
  if (last_ != nullptr && last_->region.space == space && addr - last_->region.base < last_->region.size) return last_;
  const Table& mappings = table(space);
  auto after = mappings.upper_bound(addr);
  if (after == mappings.begin()) return nullptr;
  const Mapping& mapping = std::prev(after)->second;
  if (addr - mapping.region.base >= mapping.region.size) return nullptr;
  last_ = &mapping;
  return &mapping;
}

uint64_t Bus::access(const Access& access) {
  uint64_t result = 0;
  for (unsigned done = 0; done < access.size;) {
    uint64_t addr = access.addr + done;
    unsigned rest = access.size - done;
    const Mapping* mapping = find(access.space, addr);
    unsigned piece = 1;
    uint64_t value = 0xff;
    if (mapping != nullptr) {
      uint64_t offset = addr - mapping->region.base;
      uint64_t room = mapping->region.size - offset;
      unsigned limit = static_cast<unsigned>(std::min<uint64_t>({rest, mapping->max_access, room}));
      piece = std::bit_floor(limit);
      if (addr % piece != 0) piece = static_cast<unsigned>(addr & (~addr + 1));
      offset += mapping->region.offset;
      if (access.is_write()) {
        mapping->device->write(mapping->region.region, offset, piece, low_bytes(access.value >> (8 * done), piece));
      } else {
        value = low_bytes(mapping->device->read(mapping->region.region, offset, piece), piece);
      }
    }
    result |= value << (8 * done);
    done += piece;
  }
  return access.is_write() ? 0 : result;
}

std::vector<DeviceRegion> Bus::regions() const {
  std::vector<DeviceRegion> regions;
  for (const Table& mappings : tables_) {
    for (const auto& [base, mapping] : mappings) regions.push_back(mapping.region);
  }
  for (const Device* device : announced_) {
    bool mapped =
        std::any_of(regions.begin(), regions.end(), [&](const DeviceRegion& r) { return r.device == device->name(); });
    if (!mapped) regions.push_back({std::string(device->name()), 0, Space::mmio, 0, 0, 0});
  }
  return regions;
}

}  // namespace dejavm::vm
