#include "devices/pci_bus.h"

namespace dejavm::devices {

Status PciBus::add(PciDevice& device) {
  PciDevice*& place = devices_[device.function() & 0xff];
  if (place != nullptr) {
    return fail_usage(fmt::format("PCI address {:02x}.{} of {} is taken by {}", device.function() >> 3,
                                  device.function() & 7, device.name(), place->name()),
                      "Choose another addr= or leave it out.");
  }
  place = &device;
  return {};
}

std::optional<unsigned> PciBus::free_slot(unsigned first) const {
  for (unsigned slot = first; slot < 32; ++slot) {
    bool free = true;
    for (unsigned function = 0; function < 8; ++function) free = free && devices_[devfn(slot, function)] == nullptr;
    if (free) return slot;
  }
  return std::nullopt;
}

uint32_t PciBus::config_read(unsigned devfn, unsigned offset, unsigned size) const {
  PciDevice* device = at(devfn);
  return device != nullptr ? device->config_read(offset, size) : 0xffffffff;
}

void PciBus::config_write(unsigned devfn, unsigned offset, unsigned size, uint32_t value) {
  PciDevice* device = at(devfn);
  if (device == nullptr) return;
  device->config_write(offset, size, value);
  // A window that left its place may make room for one that waited.
  device->unmap_stale_windows();
  for (PciDevice* other : devices_) {
    if (other != nullptr) other->map_windows();
  }
}

uint64_t PciHost::read(unsigned, uint64_t offset, unsigned size) {
  if (offset >= 4) {
    if (!selects_bus_0()) return 0xffffffff;
    return pci_.config_read(address_ >> 8 & 0xff, (address_ & 0xfc) | (offset & 3), size);
  }
  if (offset == 1 && size == 1) return reset_control_.read_byte();
  return size == 4 ? address_ : 0xffffffff;
}

void PciHost::write(unsigned, uint64_t offset, unsigned size, uint64_t value) {
  if (offset >= 4) {
    if (!selects_bus_0()) return;
    pci_.config_write(address_ >> 8 & 0xff, (address_ & 0xfc) | (offset & 3), size, static_cast<uint32_t>(value));
  } else if (offset == 1 && size == 1) {
    reset_control_.write_byte(static_cast<uint8_t>(value));
  } else if (size == 4) {
    address_ = static_cast<uint32_t>(value) & 0x80fffffc;
  }
}

}  // namespace dejavm::devices
