// Which Z packets are in force. The protocol lets a debugger insert or remove the same one twice; the target sees each once.
#pragma once

#include <cstdint>
#include <set>
#include <tuple>

#include "base/result.h"
#include "gdbstub/command.h"
#include "gdbstub/target.h"

namespace dejavm::gdb {

/// The breakpoints and watches of one debugger. Invariant: the target has what the set has; a software and a hardware
/// breakpoint at one address are one breakpoint of the target.
class BreakpointSet {
 public:
  explicit BreakpointSet(Target& target) : target_(target) {}

  /// Inserts or removes; twice is as good as once. Fails where the target refuses, or above kMaxBreakpoints. `physical`: the
  /// addresses of watches are physical; breakpoints are linear always. A watch that was inserted before the mode changed is
  /// found all the same.
  Status change(const ChangeBreakpoint& request, bool physical);

  bool has_hardware_breakpoint(vm::GuestVirt addr) const { return set_.contains({1, addr, 0}); }
  bool has_software_breakpoint(vm::GuestVirt addr) const { return set_.contains({0, addr, 0}); }

 private:
  static constexpr size_t kMaxBreakpoints = 65536;

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
  Status remove(const Key& key);
  Status insert_watch(const Key& key);
  Status remove_watch(const Key& key);

  Target& target_;
  std::set<Key> set_;
};

}  // namespace dejavm::gdb
