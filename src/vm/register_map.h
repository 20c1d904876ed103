// The names of devices' registers and of the bits in them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "vm/access.h"
#include "vm/access_filter.h"
#include "vm/device.h"

namespace dejavm::vm {

struct RegisterField {
  std::string name;
  unsigned lsb = 0;
  unsigned width = 1;
};

struct Register {
  std::string name;
  uint64_t offset = 0;  ///< in the device's own numbering (DeviceRegion::offset)
  unsigned size = 4;    ///< bytes, 1 to 8
  bool readable = true;
  bool writable = true;
  std::vector<RegisterField> fields;
};

struct RegisterMap {
  std::string device;              ///< of "edu" are edu, edu1, edu-1 and so on
  std::optional<Space> space;      ///< none: any
  std::optional<unsigned> region;  ///< of the device's regions (a PCI device: the BAR); none: any
  std::vector<Register> registers;

  bool is_for(std::string_view device_name) const;
  /// The register that has the byte at `offset` and can be accessed in this direction.
  const Register* find(uint64_t offset, Direction direction) const;
  const Register* find(std::string_view name) const;
};

/// The maps of a session. Of several maps for a device the last one counts.
class RegisterMaps {
 public:
  void add(RegisterMap map) { maps_.push_back(std::move(map)); }
  const RegisterMap* of(std::string_view device) const;

  /// "e1000.TCTL <- 0x4010a (EN|PSP|CT=16|COLD=64)"; empty where the register has no name.
  std::string describe(const Access& access, const DeviceRegion* region) const;
  /// Whether a place names a register: "e1000.TCTL", "e1000.TCTL.EN".
  bool names_register(std::string_view text, const std::vector<DeviceRegion>& devices) const;
  /// Has a filter mean a register, or bits of one. Errors list the names that there are.
  Status parse(std::string_view text, const std::vector<DeviceRegion>& devices, AccessFilter& filter) const;

 private:
  std::vector<RegisterMap> maps_;
};

}  // namespace dejavm::vm
