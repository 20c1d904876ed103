// PCI bus 0 and configuration mechanism #1 (ports 0xcf8 to 0xcff). Sources: PCI Local Bus Specification 3.0,
// section 3.2.2.3.2; Intel 440FX datasheet (290549), CONFADD and CONFDATA.
#pragma once

#include <array>

#include "devices/pci_device.h"

namespace dejavm::devices {

/// The functions of bus 0. Devices are borrowed and outlive it.
class PciBus {
 public:
  /// Fails where the function number is taken.
  Status add(PciDevice& device);
  PciDevice* at(unsigned devfn) const { return devices_[devfn & 0xff]; }
  /// The first slot without a function, from `first`.
  std::optional<unsigned> free_slot(unsigned first) const;

  uint32_t config_read(unsigned devfn, unsigned offset, unsigned size) const;
  void config_write(unsigned devfn, unsigned offset, unsigned size, uint32_t value);

 private:
  std::array<PciDevice*, 256> devices_{};
};

/// A byte-wide register that the chipset decodes inside the range of another device.
class ByteRegister {
 public:
  virtual ~ByteRegister() = default;
  virtual uint8_t read_byte() = 0;
  virtual void write_byte(uint8_t value) = 0;
};

/// CONFADD takes 32-bit accesses only; byte accesses to port 0xcf9 reach the reset control register. Only bus 0 exists.
class PciHost final : public vm::Device {
 public:
  PciHost(PciBus& pci, ByteRegister& reset_control) : pci_(pci), reset_control_(reset_control) {}

  Status attach(vm::Bus& bus) { return bus.map(*this, 0, vm::Space::pio, 0xcf8, 8, 4); }

  std::string_view name() const override { return "pci-host"; }
  uint64_t read(unsigned region, uint64_t offset, unsigned size) override;
  void write(unsigned region, uint64_t offset, unsigned size, uint64_t value) override;
  void reset() override { address_ = 0; }

 private:
  bool selects_bus_0() const { return (address_ & 0x80ff0000) == 0x80000000; }

  PciBus& pci_;
  ByteRegister& reset_control_;
  uint32_t address_ = 0;
};

}  // namespace dejavm::devices
