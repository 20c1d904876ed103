// What a device is: registers behind an address. Devices know nothing of engines, threads or traces.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "vm/access.h"

namespace dejavm::vm {

/// A device model. read and write answer an access and return at once; they never touch guest memory. Work that does (DMA)
/// or that changes the memory map is handed to DeferredWork and runs when the accessing instruction has completed.
class Device {
 public:
  virtual ~Device() = default;
  /// The name in traces, stops and filters: "edu", "serial0", "pci-host".
  virtual std::string_view name() const = 0;
  /// `region` is the number that the device was mapped with; offset and size lie inside the region; size is 1, 2, 4 or 8 and
  /// at most the region's max_access.
  virtual uint64_t read(unsigned region, uint64_t offset, unsigned size) = 0;
  virtual void write(unsigned region, uint64_t offset, unsigned size, uint64_t value) = 0;
  /// Back to the state after power-on.
  virtual void reset() = 0;
};

/// Where a device answers. Also the row of the device table in traces. Size 0: the device is there and answers nowhere now.
struct DeviceRegion {
  std::string device;
  unsigned region = 0;  ///< the device's own number of it (a PCI device: the BAR)
  Space space = Space::mmio;
  uint64_t base = 0;
  uint64_t size = 0;
  /// What offset 0 of this piece is in the device's own numbering: a stop prints device+offset (e.g. serial0+0x5).
  uint64_t offset = 0;
  bool operator==(const DeviceRegion&) const = default;
};

}  // namespace dejavm::vm
