// Places, as users write them everywhere: 0xfebc0000, 0xfebc0000-0xfebc0fff, port:0x3f8, edu, edu+0x80.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "vm/access.h"
#include "vm/device.h"

namespace dejavm::vm {

/// A place that is not tied to an address yet: a device may be moved by the guest after the place was named.
struct Place {
  std::string text;    ///< as the user wrote it
  std::string device;  ///< empty: `space` and addresses are absolute
  Space space = Space::mmio;
  uint64_t first = 0;  ///< inclusive; for a device: offsets
  uint64_t last = 0;
  std::optional<Space> only_space;      ///< of a device, only what it has there
  std::optional<unsigned> only_region;  ///< of a device, only that region of it

  /// Whether any byte of the access lies in the place. `region` is where the access fell, null for nobody's address.
  bool contains(const Access& access, const DeviceRegion* region) const;
};

/// Parses a place. A device name that is not in `devices` is an error that lists the names.
Result<Place> parse_place(std::string_view text, const std::vector<DeviceRegion>& devices);

/// Which region an address lies in, or null. A linear search: for reports and stops.
const DeviceRegion* find_region(const std::vector<DeviceRegion>& devices, Space space, uint64_t addr);

/// "edu+0x80", "port:0x402" or "0xfebc0080": the shortest name of an accessed address.
std::string place_name(const Access& access, const DeviceRegion* region);

}  // namespace dejavm::vm
