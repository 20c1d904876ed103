// QEMU's firmware configuration device, port interface without DMA. Source: QEMU docs/specs/fw_cfg.txt (.rst); item numbers
// also include/standard-headers/linux/qemu_fw_cfg.h.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "base/bytes.h"
#include "vm/bus.h"
#include "vm/device.h"

namespace dejavm::devices {

/// Numbered items and named files, read byte by byte: a 16-bit write to port 0x510 selects, reads of port 0x511 give the
/// item's bytes and then zeros. Writes to the data port have no effect.
class FwCfg final : public vm::Device {
 public:
  using Items = std::map<uint16_t, Bytes>;
  using Files = std::map<std::string, Bytes>;

  /// Adds the signature, the interface id and the file directory to `items`. A file's name has at most 55 characters.
  FwCfg(Items items, const Files& files);

  Status attach(vm::Bus& bus) { return bus.map(*this, 0, vm::Space::pio, 0x510, 2, 2); }

  /// Makes the contents of a file anew each time that somebody selects it: for what depends on how the firmware has set up
  /// the machine. The size stays the same.
  void on_select(const std::string& file, std::function<Bytes()> make);

  std::string_view name() const override { return "fw_cfg"; }
  uint64_t read(unsigned region, uint64_t offset, unsigned size) override;
  void write(unsigned region, uint64_t offset, unsigned size, uint64_t value) override;
  void reset() override;

 private:
  Items items_;
  std::map<std::string, uint16_t> selectors_;  // of the files
  std::map<uint16_t, std::function<Bytes()>> makers_;
  uint16_t selected_ = 0;
  size_t position_ = 0;
};

/// What the firmware is told about the machine.
struct FwCfgConfig {
  uint64_t ram_below_4g = 0;
  uint64_t ram_above_4g = 0;
  unsigned cpus = 1;
};

/// The items and files that QEMU's pc machine gives its firmware, as far as SeaBIOS uses them, but for the ACPI tables: no
/// SMBIOS tables.
FwCfg::Items pc_fw_cfg_items(const FwCfgConfig& config);
FwCfg::Files pc_fw_cfg_files(const FwCfgConfig& config);

}  // namespace dejavm::devices
