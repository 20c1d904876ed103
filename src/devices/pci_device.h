// One PCI function: configuration header, base address registers, INTx, capabilities. Source: PCI Local Bus Specification
// 3.0, chapter 6; MSI capability: section 6.8.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "devices/msi.h"
#include "vm/bus.h"
#include "vm/device.h"
#include "vm/irq_line.h"

namespace dejavm::devices {

/// What the read-only part of the configuration header says.
struct PciIdentity {
  uint16_t vendor = 0;
  uint16_t device = 0;
  uint8_t revision = 0;
  uint32_t class_code = 0;  ///< 24 bits: class, subclass, programming interface
  uint16_t subsystem_vendor = 0x1af4;
  uint16_t subsystem = 0x1100;
  uint8_t interrupt_pin = 0;  ///< 0 none, 1 = INTA
  bool multifunction = false;
};

/// A function number: slot << 3 | function.
constexpr unsigned devfn(unsigned slot, unsigned function) { return slot << 3 | function; }

/// The base of a PCI device model. A window is a range of a bus that the device answers at while configuration enables it;
/// windows 0 to 5 are the BARs, and a window's number is the region number that read() and write() see. Invariant: the bus
/// holds exactly the windows that are enabled and that nobody else's window overlaps.
class PciDevice : public vm::Device {
 public:
  PciDevice(vm::Bus& bus, unsigned devfn, const PciIdentity& identity);
  PciDevice(const PciDevice&) = delete;
  PciDevice& operator=(const PciDevice&) = delete;

  unsigned function() const { return devfn_; }
  /// offset + size is at most 256; size 1, 2 or 4.
  uint32_t config_read(unsigned offset, unsigned size);
  void config_write(unsigned offset, unsigned size, uint32_t value);

  /// Takes windows off the bus that configuration moved or disabled; the first half of a change of the bus.
  void unmap_stale_windows();
  /// Puts enabled windows on the bus; one that overlaps another device's stays off until that one moves.
  void map_windows();

  void reset() final;

 protected:
  static constexpr unsigned kWindows = 8;

  /// size: a power of two, at least 4 for ports and 16 for memory.
  void add_bar(unsigned bar, vm::Space space, uint32_t size, unsigned max_access);
  /// A prefetchable memory BAR with 64 address bits, which takes the place of two.
  void add_bar64(unsigned bar, uint32_t size, unsigned max_access);
  /// A window that is not a BAR; its address comes from window_base().
  void add_window(unsigned number, vm::Space space, uint32_t size, unsigned max_access);
  /// Adds MSI with 64-bit addresses and one message at `offset`.
  void add_msi(unsigned offset);
  /// Puts a capability at `offset`, in front of those that are there: `body` is what follows its number and the link.
  void add_capability(unsigned offset, uint8_t number, ByteSpan body);
  /// Sends the message, where the guest enabled MSI and lets the device write memory.
  void send_msi();
  bool msi_enabled() const { return msi_ != 0 && (config_[msi_ + 2] & 1) != 0; }
  bool bus_master() const { return (config_[4] & 4) != 0; }

  /// Drives the INTx pin through `line`; silent while the guest disabled INTx or enabled MSI.
  void set_intx_line(vm::IrqLine line) { intx_line_ = line; }
  void set_msi_sink(MsiSink sink) { msi_sink_ = std::move(sink); }
  void set_intx(bool level);

  /// Gives configuration bytes their value after reset, and which of their bits the guest may write.
  void set_config(unsigned offset, ByteSpan values);
  void set_writable(unsigned offset, unsigned size, uint8_t mask);
  uint8_t config(unsigned offset) const { return config_[offset]; }
  /// Changes a byte until the next reset.
  void store_config(unsigned offset, uint8_t value) { config_[offset] = value; }

  virtual void device_reset() = 0;
  /// Called after a configuration write changed something in [offset, offset + size).
  virtual void config_written(unsigned offset, unsigned size);
  /// Called before a configuration read of [offset, offset + size).
  virtual void config_reading(unsigned offset, unsigned size);
  /// Where window `number` (6 and above) answers; none while it is disabled.
  virtual std::optional<uint32_t> window_base(unsigned number) const;

 private:
  struct Window {
    vm::Space space = vm::Space::mmio;
    uint32_t size = 0;  // 0: there is no such window
    unsigned max_access = 4;
    bool wide = false;  // a BAR with 64 address bits
    std::optional<uint64_t> mapped;
  };

  std::optional<uint64_t> bar_base(unsigned bar) const;
  std::optional<uint64_t> wanted(unsigned number) const;
  void drive_intx();

  vm::Bus& bus_;
  const unsigned devfn_;
  std::array<uint8_t, 256> reset_config_{};
  std::array<uint8_t, 256> config_{};
  std::array<uint8_t, 256> writable_{};
  std::array<Window, kWindows> windows_{};
  unsigned msi_ = 0;
  MsiSink msi_sink_;
  vm::IrqLine intx_line_;
  bool intx_ = false;
};

}  // namespace dejavm::devices
