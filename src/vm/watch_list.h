// The watchpoints of a session, by whoever set them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "vm/vcpu.h"

namespace dejavm::vm {

/// Numbers watchpoints and keeps a vCPU up to date. Invariant: the vCPU has exactly these, in this order, or, while they are
/// disarmed, none.
class WatchList {
 public:
  struct Entry {
    unsigned id = 0;
    Watchpoint what;
    bool listed = true;  ///< set by a person's command; false: a debugger's own, which it lists itself
    uint64_t hits = 0;
  };

  /// The number; of the listed ones it counts from 1. Where the vCPU refuses, nothing changes.
  Result<unsigned> add(Vcpu& vcpu, const Watchpoint& what, bool listed);
  /// False when there is none with this id.
  Result<bool> remove(Vcpu& vcpu, unsigned id);
  Status remove_listed(Vcpu& vcpu);
  /// Has the watchpoints of another list, whose vCPU is the same.
  Status become(Vcpu& vcpu, const WatchList& other);
  /// Takes all from the vCPU, or gives them back.
  Status arm(Vcpu& vcpu, bool armed);

  const std::vector<Entry>& list() const { return entries_; }
  /// Counts a hit, and says whose it is.
  const Entry& count(const WatchHit& hit);

 private:
  Status replace(Vcpu& vcpu, std::vector<Entry> entries);

  std::vector<Entry> entries_;
  unsigned last_id_ = 0, last_own_id_ = 1u << 31;
};

/// "0x1000-0x100f rw", "physical 0x1000 w"
std::string describe(const Watchpoint& watchpoint);
/// "watch: physical 0x1004 written, rip 0x1234, after event 7"; "... by a device, after ..."
std::string watch_line(const WatchHit& hit, const Watchpoint& watchpoint, int64_t last_event);

}  // namespace dejavm::vm
