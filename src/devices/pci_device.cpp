#include "devices/pci_device.h"

#include <bit>

#include "base/check.h"

namespace dejavm::devices {
namespace {

constexpr unsigned kCommand = 0x04, kStatus = 0x06, kHeaderType = 0x0e, kBar0 = 0x10;
constexpr unsigned kCapabilities = 0x34, kInterruptLine = 0x3c;
constexpr uint8_t kIoEnable = 1, kMemoryEnable = 2, kBusMaster = 4;
constexpr uint8_t kIntxDisable = 4;      // in the command register's high byte
constexpr uint8_t kIntxStatus = 8;       // in the status register's low byte
constexpr uint8_t kCapabilityList = 16;  // likewise
constexpr uint8_t kWideBar = 0x0c;       // in a BAR: memory with 64 address bits, prefetchable
constexpr uint64_t kWideLimit = uint64_t{1} << 40;

}  // namespace

PciDevice::PciDevice(vm::Bus& bus, unsigned devfn, const PciIdentity& identity) : bus_(bus), devfn_(devfn) {
  store_le(&reset_config_[0x00], identity.vendor);
  store_le(&reset_config_[0x02], identity.device);
  reset_config_[0x08] = identity.revision;
  reset_config_[0x09] = static_cast<uint8_t>(identity.class_code);
  reset_config_[0x0a] = static_cast<uint8_t>(identity.class_code >> 8);
  reset_config_[0x0b] = static_cast<uint8_t>(identity.class_code >> 16);
  reset_config_[kHeaderType] = identity.multifunction ? 0x80 : 0;
  store_le(&reset_config_[0x2c], identity.subsystem_vendor);
  store_le(&reset_config_[0x2e], identity.subsystem);
  reset_config_[0x3d] = identity.interrupt_pin;
  writable_[kCommand] = kIoEnable | kMemoryEnable | kBusMaster;
  writable_[kCommand + 1] = 0x01 | kIntxDisable;  // SERR# enable
  writable_[0x0c] = 0xff;                         // cache line size
  writable_[kInterruptLine] = 0xff;
  config_ = reset_config_;
}

void PciDevice::add_bar(unsigned bar, vm::Space space, uint32_t size, unsigned max_access) {
  CHECK(bar < 6 && std::has_single_bit(size) && size >= (space == vm::Space::pio ? 4u : 16u));
  windows_[bar] = {space, size, max_access, false, std::nullopt};
  reset_config_[kBar0 + 4 * bar] = space == vm::Space::pio ? 1 : 0;
  store_le(&writable_[kBar0 + 4 * bar], ~(size - 1));
  config_ = reset_config_;
}

void PciDevice::add_bar64(unsigned bar, uint32_t size, unsigned max_access) {
  CHECK(bar < 5);
  add_bar(bar, vm::Space::mmio, size, max_access);
  windows_[bar].wide = true;
  reset_config_[kBar0 + 4 * bar] = kWideBar;
  set_writable(kBar0 + 4 * bar + 4, 4, 0xff);
  config_ = reset_config_;
}

void PciDevice::add_capability(unsigned offset, uint8_t number, ByteSpan body) {
  CHECK(offset >= 0x40 && offset + 2 + body.size() <= 256);
  const uint8_t head[] = {number, reset_config_[kCapabilities]};
  reset_config_[kStatus] |= kCapabilityList;
  reset_config_[kCapabilities] = static_cast<uint8_t>(offset);
  set_config(offset, head);
  set_config(offset + 2, body);
}

void PciDevice::add_window(unsigned number, vm::Space space, uint32_t size, unsigned max_access) {
  CHECK(number >= 6 && number < kWindows && size > 0);
  windows_[number] = {space, size, max_access, false, std::nullopt};
}

void PciDevice::add_msi(unsigned offset) {
  CHECK(offset >= 0x40 && offset + 14 <= 256);
  msi_ = offset;
  uint8_t next = reset_config_[kCapabilities];
  reset_config_[kStatus] |= kCapabilityList;
  reset_config_[kCapabilities] = static_cast<uint8_t>(offset);
  const uint8_t head[] = {0x05, next, 0x80, 0x00};  // 64-bit addresses, one message
  set_config(offset, head);
  set_writable(offset + 2, 1, 0x71);  // enable, number of messages
  set_writable(offset + 4, 1, 0xfc);  // address, a multiple of four
  set_writable(offset + 5, 7, 0xff);
  set_writable(offset + 12, 2, 0xff);  // data
}

void PciDevice::set_config(unsigned offset, ByteSpan values) {
  CHECK(offset + values.size() <= 256);
  for (uint8_t value : values) reset_config_[offset++] = value;
  config_ = reset_config_;
}

void PciDevice::set_writable(unsigned offset, unsigned size, uint8_t mask) {
  CHECK(offset + size <= 256);
  for (unsigned i = 0; i < size; ++i) writable_[offset + i] = mask;
}

void PciDevice::reset() {
  config_ = reset_config_;
  set_intx(false);
  device_reset();
  unmap_stale_windows();
  map_windows();
}

uint32_t PciDevice::config_read(unsigned offset, unsigned size) {
  CHECK(offset + size <= 256 && size <= 4);
  config_reading(offset, size);
  uint32_t value = 0;
  for (unsigned i = 0; i < size; ++i) value |= uint32_t{config_[offset + i]} << (8 * i);
  return value;
}

void PciDevice::config_write(unsigned offset, unsigned size, uint32_t value) {
  CHECK(offset + size <= 256 && size <= 4);
  for (unsigned i = 0; i < size; ++i) {
    uint8_t mask = writable_[offset + i];
    auto byte = static_cast<uint8_t>(value >> (8 * i));
    config_[offset + i] = static_cast<uint8_t>((config_[offset + i] & ~mask) | (byte & mask));
  }
  drive_intx();
  config_written(offset, size);
}

void PciDevice::config_written(unsigned, unsigned) {}

void PciDevice::config_reading(unsigned, unsigned) {}

std::optional<uint32_t> PciDevice::window_base(unsigned) const { return std::nullopt; }

std::optional<uint64_t> PciDevice::bar_base(unsigned bar) const {
  const Window& window = windows_[bar];
  bool io = window.space == vm::Space::pio;
  if ((config_[kCommand] & (io ? kIoEnable : kMemoryEnable)) == 0) return std::nullopt;
  uint64_t base = load_le<uint32_t>(&config_[kBar0 + 4 * bar]) & ~(window.size - 1);
  if (window.wide) base |= uint64_t{load_le<uint32_t>(&config_[kBar0 + 4 * bar + 4])} << 32;
  // Zero is "not assigned"; a BAR at the end of its space holds the ones of a size probe.
  uint64_t limit = io ? 0x10000 : window.wide ? kWideLimit : uint64_t{1} << 32;
  if (base == 0 || base >= limit - window.size) return std::nullopt;
  return base;
}

std::optional<uint64_t> PciDevice::wanted(unsigned number) const {
  if (windows_[number].size == 0) return std::nullopt;
  if (number < 6) return bar_base(number);
  std::optional<uint32_t> base = window_base(number);
  return base ? std::optional<uint64_t>(*base) : std::nullopt;
}

void PciDevice::unmap_stale_windows() {
  for (unsigned number = 0; number < kWindows; ++number) {
    Window& window = windows_[number];
    if (!window.mapped || window.mapped == wanted(number)) continue;
    bus_.unmap(*this, window.space, *window.mapped);
    window.mapped.reset();
  }
}

void PciDevice::map_windows() {
  for (unsigned number = 0; number < kWindows; ++number) {
    Window& window = windows_[number];
    std::optional<uint64_t> base = wanted(number);
    if (!base || window.mapped) continue;
    if (bus_.map(*this, number, window.space, *base, window.size, window.max_access)) window.mapped = base;
  }
}

void PciDevice::set_intx(bool level) {
  intx_ = level;
  drive_intx();
}

void PciDevice::send_msi() {
  if (!msi_enabled() || !bus_master() || !msi_sink_) return;
  msi_sink_(load_le<uint64_t>(&config_[msi_ + 4]), load_le<uint16_t>(&config_[msi_ + 12]));
}

void PciDevice::drive_intx() {
  config_[kStatus] = static_cast<uint8_t>((config_[kStatus] & ~kIntxStatus) | (intx_ ? kIntxStatus : 0));
  bool disabled = (config_[kCommand + 1] & kIntxDisable) != 0 || msi_enabled();
  intx_line_.set(intx_ && !disabled);
}

}  // namespace dejavm::devices
