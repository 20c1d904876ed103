// The last access to every device address: what a debugger sees there, since it never reads a device itself.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "vm/access_breaks.h"
#include "vm/place.h"

namespace dejavm::vm {

class AccessHistory {
 public:
  /// An access was made; `seen.access.value` is what was read or written.
  void note(const SeenAccess& seen) {
    last_[static_cast<unsigned>(seen.access.space)][seen.access.addr] = seen;
    latest_ = seen;
  }

  const std::optional<SeenAccess>& latest() const { return latest_; }
  /// The last access that touches the place, or null.
  const SeenAccess* latest_in(const Place& place, const std::vector<DeviceRegion>& devices) const;
  /// The byte that the last access covering this guest physical address transferred.
  std::optional<uint8_t> mmio_byte(uint64_t gpa) const;

 private:
  std::unordered_map<uint64_t, SeenAccess> last_[2];  // by space, then the access's first address
  std::optional<SeenAccess> latest_;
};

}  // namespace dejavm::vm
