// i440FX host bridge, 8086:1237 at 00:00.0. Source: Intel 440FX datasheet (290549).
#pragma once

#include <functional>

#include "devices/pc_memory_map.h"
#include "devices/pci_device.h"

namespace dejavm::devices {

/// Its PAM registers (0x59 to 0x5f) decide the memory map below 1 MiB. SMRAM (0x72) is remembered and changes nothing: there
/// is no system management mode. The other registers from 0x40 on are remembered.
class I440fx final : public PciDevice {
 public:
  /// `pam_written` is called within the access; it must put the change of the map off. `pam`: its values after reset; the
  /// chip has zeros.
  I440fx(vm::Bus& bus, std::function<void()> pam_written, const PamRegisters& pam = {});

  PamRegisters pam() const;

  std::string_view name() const override { return "i440fx"; }
  uint64_t read(unsigned, uint64_t, unsigned) override { return UINT64_MAX; }
  void write(unsigned, uint64_t, unsigned, uint64_t) override {}

 private:
  void device_reset() override {}
  void config_written(unsigned offset, unsigned size) override;

  std::function<void()> pam_written_;
};

}  // namespace dejavm::devices
