// Breakpoints on device accesses: any number, any size, no debug registers. A session asks at each access.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "vm/access.h"
#include "vm/access_filter.h"
#include "vm/device.h"

namespace dejavm::vm {

/// An access as it is reported: the line of cli.md.
struct SeenAccess {
  Access access;
  uint64_t event = 0;                   ///< number of the event
  std::optional<uint64_t> instruction;  ///< linear address of the accessing instruction
  bool recorded = true;                 ///< false: made in a diversion; there is no event
};

/// "mmio: edu+0x80 <- 0x1 (4 bytes) at 0xfebc0080, rip 0x1234, event 123" ("->" for a read, "pio:" for a port; "in a
/// diversion" where there is no event).
std::string stop_line(const SeenAccess& seen, const DeviceRegion* region);

struct AccessBreak {
  unsigned id = 0;
  AccessFilter filter;
  uint64_t skip = 0;  ///< stop at the `skip`+1st match and at every one after it
  uint64_t hits = 0;  ///< matches so far
  /// For a place that is not known yet (a virtual address that does not translate): asked at each access until it answers.
  std::function<std::optional<Place>()> resolve;
};

/// The list of breakpoints and the last accesses. Checking costs nothing while the list is empty.
class AccessBreaks {
 public:
  unsigned add(AccessFilter filter, uint64_t skip, std::function<std::optional<Place>()> resolve = nullptr);
  /// False when there is none with this id.
  bool remove(unsigned id);
  void clear() { breaks_.clear(); }
  /// From now on each stops at every match.
  void forget_counts() {
    for (AccessBreak& one : breaks_) one.skip = 0;
  }
  const std::vector<AccessBreak>& list() const { return breaks_; }

  /// Notes the access; returns the breakpoint that stops here, or null.
  const AccessBreak* check(const SeenAccess& seen, const std::vector<DeviceRegion>& devices);

 private:
  std::vector<AccessBreak> breaks_;
  unsigned last_id_ = 0;
};

}  // namespace dejavm::vm
