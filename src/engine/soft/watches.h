// Which bytes of guest memory are watched, by a debugger and by the guest's own debug registers, and what the present
// instruction has done to them.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "engine/soft/slow_pages.h"
#include "vm/cpu_state.h"
#include "vm/vcpu.h"

namespace dejavm::soft {

/// Any number of ranges of addresses; asks for an overlap in logarithmic time.
class RangeSet {
 public:
  struct Range {
    uint64_t first = 0;
    uint64_t last = 0;  ///< inclusive
    bool touches(const Range& other) const { return first <= other.last && other.first <= last; }
    bool operator==(const Range&) const = default;
  };

  RangeSet() = default;
  explicit RangeSet(std::vector<Range> ranges);
  bool touches(const Range& range) const;

 private:
  std::vector<Range> ranges_;  // disjoint, ascending
};

/// A page with watched bytes is never in the Tlb for the kinds of access that are watched (LinearMemory sees to it), so
/// every such access comes through note(). What an attempt of an instruction hits is kept until Core takes it after the
/// instruction, or forgets it because the instruction did not happen.
///
/// Debug registers: AMD64 APM volume 2, section 13.1.
class Watches {
 public:
  /// Bits of DR6.
  static constexpr uint64_t kTaskSwitchTrap = 1u << 15;
  static constexpr uint64_t kBreakpoints = 0xf;

  /// No range wraps around, and no physical one reaches PagePlace::kUnknownGpa.
  void set_watchpoints(std::vector<vm::Watchpoint> watchpoints);
  /// Takes over DR0 to DR3, DR7 and CR4.DE. True when the watched memory is another than before.
  bool follow_debug_registers(const vm::CpuState& cpu);
  /// Whether DR7 and CR4.DE are what they were at the last follow_debug_registers(): cheap.
  bool follows(const vm::CpuState& cpu) const { return cpu.dr7 == dr7_ && (cpu.cr4 & kCr4De) == cr4_de_; }

  bool empty() const { return !active_; }
  /// Whether accesses of this kind to this page must be seen here. Who may write may read, too, in a read-modify-write.
  bool covers(const PagePlace& place, Reach reach) const { return active_ && covers_page(place, reach); }

  /// Bytes of one page that are accessed. True when they are watched.
  struct Touch {
    uint64_t linear = 0;
    uint64_t gpa = 0;  ///< PagePlace::kUnknownGpa and more: not known, and not watched by physical address
    uint32_t size = 0;
    vm::Direction direction = vm::Direction::read;
    uint64_t instruction = 0;  ///< linear address
  };
  bool note(const Touch& touch);
  /// An access of ports. True when a debug register waits for it.
  bool note_port(uint16_t port, unsigned size);
  /// A debug trap for another reason: bits of DR6.
  void note_trap(uint64_t bits) { hits_.debug_bits |= bits; }

  struct Hits {
    std::optional<vm::WatchHit> watchpoint;
    uint64_t debug_bits = 0;  ///< of DR6: the guest gets a trap
    bool any() const { return watchpoint.has_value() || debug_bits != 0; }
  };
  const Hits& hits() const { return hits_; }
  Hits take_hits() { return std::exchange(hits_, Hits{}); }
  void forget_hits() { hits_ = Hits{}; }
  /// The frame of a debug exception on watched bytes raises no other one, which would go on for ever.
  void forget_debug_hits() { hits_.debug_bits = 0; }

 private:
  static constexpr uint64_t kCr4De = 1u << 3;

  struct DebugRange {
    RangeSet::Range range;
    uint64_t bit = 0;  // of DR6
    bool ports = false;
    bool on_read = false;
    bool operator==(const DebugRange&) const = default;
  };

  bool covers_page(const PagePlace& place, Reach reach) const;
  void find_watchpoint(const Touch& touch, const RangeSet::Range& linear, const RangeSet::Range& physical);
  void sort_ranges();

  std::vector<vm::Watchpoint> watchpoints_;
  std::vector<DebugRange> debug_;
  RangeSet linear_[2], physical_[2];  // by vm::Direction
  bool active_ = false;               // anything is watched
  uint64_t dr7_ = 0x400, cr4_de_ = 0;
  Hits hits_;
};

}  // namespace dejavm::soft
