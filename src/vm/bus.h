// The bus: which device answers at an address.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/result.h"
#include "vm/access.h"
#include "vm/device.h"

namespace dejavm::vm {

/// Routes accesses to devices. Borrowed devices must outlive their mapping. Rejects overlaps. Nobody home reads as all ones.
class Bus {
 public:
  struct Mapping {
    Device* device = nullptr;
    DeviceRegion region;
    unsigned max_access = 8;  ///< 1, 2, 4 or 8: wider accesses are split, lowest address first, as QEMU's memory core does
  };

  /// Adds a mapping; an error names the mapping that it would overlap. `offset` is DeviceRegion::offset.
  Status map(Device& device, unsigned region, Space space, uint64_t base, uint64_t size, unsigned max_access,
             uint64_t offset = 0);
  /// Removes the mapping of this device that starts at base; no effect where there is none.
  void unmap(Device& device, Space space, uint64_t base);

  /// Makes a device known by name while it answers nowhere yet (a PCI device before its BARs are programmed).
  void announce(const Device& device);

  /// Performs an access and returns what a read reads (0 for a write). Pieces are naturally aligned powers of two of at
  /// most max_access; bytes that no device claims read as 0xff.
  uint64_t access(const Access& access);

  const Mapping* find(Space space, uint64_t addr) const;
  /// The device table: by space and base, then the announced devices that answer nowhere now, with size 0.
  std::vector<DeviceRegion> regions() const;
  /// Counts changes of the table.
  uint64_t generation() const { return generation_; }

 private:
  using Table = std::map<uint64_t, Mapping>;
  Table& table(Space space) { return tables_[static_cast<unsigned>(space)]; }
  const Table& table(Space space) const { return tables_[static_cast<unsigned>(space)]; }

  Table tables_[2];
  std::vector<const Device*> announced_;
  uint64_t generation_ = 0;
  mutable const Mapping* last_ = nullptr;  // most accesses hit the device of the last one
};

}  // namespace dejavm::vm
