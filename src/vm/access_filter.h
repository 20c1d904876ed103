// Conditions on device accesses, in one language for the monitor, the shell and the command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "vm/place.h"

namespace dejavm::vm {

/// Everything that is set must hold.
struct AccessFilter {
  std::vector<Place> places;  ///< any of them; empty: everywhere
  std::optional<Direction> direction;
  std::optional<unsigned> size;
  std::optional<uint64_t> value;
  uint64_t value_mask = UINT64_MAX;

  /// Bits of a register, all of which the access must transfer.
  struct Field {
    uint64_t offset = 0;  ///< of the register in the device
    unsigned lsb = 0;
    uint64_t mask = 1;  ///< of as many bits as the field has
    std::optional<uint64_t> value;
  };
  std::optional<Field> field;

  bool matches(const Access& access, const DeviceRegion* region) const;
};

/// Parses "V" or "V/MASK" into the filter.
Status parse_value(std::string_view text, AccessFilter& filter);

/// The words of the condition, e.g. "w size 4 value 0x1".
std::string describe(const AccessFilter& filter);

}  // namespace dejavm::vm
