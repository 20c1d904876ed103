// Which Z packets are in force. The protocol lets a debugger insert or remove the same one twice; the target sees each once.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include "base/result.h"
#include "gdbstub/command.h"
#include "gdbstub/target.h"

namespace dejavm::gdb {

/// The breakpoints and watches of one debugger. Invariant: the target has what the set has; a software and a hardware
/// breakpoint at one address are one breakpoint of the target. The target asks the set while there are conditions.
class BreakpointSet {
 public:
  explicit BreakpointSet(Target& target) : target_(target) {}
  BreakpointSet(const BreakpointSet&) = delete;
  BreakpointSet& operator=(const BreakpointSet&) = delete;
  ~BreakpointSet();

  /// Inserts or removes; twice is as good as once. Fails where the target refuses, or above kMaxBreakpoints. `physical`: the
  /// addresses of watches are physical; breakpoints are linear always. A watch that was inserted before the mode changed is
  /// found all the same.
  Status change(const ChangeBreakpoint& request, bool physical);

  bool has_hardware_breakpoint(vm::GuestVirt addr) const { return set_.contains({1, addr, 0}); }
  bool has_software_breakpoint(vm::GuestVirt addr) const { return set_.contains({0, addr, 0}); }

  /// Whether a breakpoint there stops the guest as it is now: one without conditions does, else one whose condition is not
  /// zero, or cannot be evaluated.
  bool stops(vm::GuestVirt addr) const;

 private:
  static constexpr size_t kMaxBreakpoints = 65536;
  static constexpr size_t kMaxConditionBytes = size_t{4} << 20;  // of all

  struct Key {
    uint8_t type;  ///< the number behind Z
    vm::GuestVirt addr;
    uint64_t length;  ///< 0 for breakpoints, whose "kind" means nothing on x86
    bool physical = false;
    bool operator<(const Key& other) const {
      return std::tie(type, addr.value, length, physical) <
             std::tie(other.type, other.addr.value, other.length, other.physical);
    }
  };

  Status insert(const Key& key);
  Status set_conditions(const Key& key, const std::vector<Bytes>& conditions);
  void remove_conditions(const Key& key);
  Status remove(const Key& key);
  Status insert_watch(const Key& key);
  Status remove_watch(const Key& key);

  Target& target_;
  std::set<Key> set_;
  std::map<Key, std::vector<Bytes>> conditions_;  // of breakpoints in the set
  size_t condition_bytes_ = 0;
};

}  // namespace dejavm::gdb
