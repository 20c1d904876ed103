#include "engine/soft/watches.h"

#include <algorithm>

namespace dejavm::soft {
namespace {

RangeSet::Range range_of(const vm::Watchpoint& watchpoint) {
  return {watchpoint.first, watchpoint.first + (watchpoint.length - 1)};
}

}  // namespace

// ---- RangeSet

RangeSet::RangeSet(std::vector<Range> ranges) {
  std::ranges::sort(ranges, {}, &Range::first);
  for (const Range& range : ranges) {
    if (!ranges_.empty() && range.first <= ranges_.back().last) {
      ranges_.back().last = std::max(ranges_.back().last, range.last);
    } else {
      ranges_.push_back(range);
    }
  }
}

bool RangeSet::touches(const Range& range) const {
  auto first = std::ranges::lower_bound(ranges_, range.first, {}, &Range::last);
  return first != ranges_.end() && first->first <= range.last;
}

// ---- Watches

void Watches::set_watchpoints(std::vector<vm::Watchpoint> watchpoints) {
  watchpoints_ = std::move(watchpoints);
  sort_ranges();
}

bool Watches::follow_debug_registers(const vm::CpuState& cpu) {
  dr7_ = cpu.dr7;
  cr4_de_ = cpu.cr4 & kCr4De;
  std::vector<DebugRange> wanted;
  for (unsigned i = 0; i < 4; ++i) {
    constexpr unsigned kOnWrite = 1, kOnPort = 2, kOnAccess = 3;
    bool enabled = (cpu.dr7 >> 2 * i & 3) != 0;
    unsigned kind = cpu.dr7 >> (16 + 4 * i) & 3;
    bool on_data = kind == kOnWrite || kind == kOnAccess, on_port = kind == kOnPort && cr4_de_ != 0;
    if (!enabled || (!on_data && !on_port)) continue;
    constexpr uint64_t kSizes[] = {1, 2, 8, 4};
    uint64_t size = kSizes[cpu.dr7 >> (18 + 4 * i) & 3], first = cpu.dr[i] & ~(size - 1);
    wanted.push_back({{first, first + (size - 1)}, uint64_t{1} << i, on_port, kind == kOnAccess});
  }
  if (wanted == debug_) return false;
  debug_ = std::move(wanted);
  sort_ranges();
  return true;
}

void Watches::sort_ranges() {
  std::vector<RangeSet::Range> linear[2], physical[2];
  auto add = [](std::vector<RangeSet::Range>(&to)[2], const RangeSet::Range& range, bool on_read, bool on_write) {
    if (on_read) to[static_cast<size_t>(vm::Direction::read)].push_back(range);
    if (on_write) to[static_cast<size_t>(vm::Direction::write)].push_back(range);
  };
  for (const vm::Watchpoint& one : watchpoints_) {
    add(one.by == vm::Watchpoint::By::linear ? linear : physical, range_of(one), one.on_read, one.on_write);
  }
  for (const DebugRange& one : debug_) {
    if (!one.ports) add(linear, one.range, one.on_read, true);
  }
  for (unsigned i : {0u, 1u}) {
    linear_[i] = RangeSet(std::move(linear[i]));
    physical_[i] = RangeSet(std::move(physical[i]));
  }
  active_ = !watchpoints_.empty() || !debug_.empty();
}

bool Watches::covers_page(const PagePlace& place, Reach reach) const {
  RangeSet::Range linear{place.linear, place.linear | 0xfff}, physical{place.gpa, place.gpa | 0xfff};
  auto watched = [&](vm::Direction direction) {
    auto i = static_cast<size_t>(direction);
    return linear_[i].touches(linear) || physical_[i].touches(physical);
  };
  if (reach == Reach::execute) return false;
  return watched(vm::Direction::read) || (reach == Reach::write && watched(vm::Direction::write));
}

bool Watches::note(const Touch& touch) {
  RangeSet::Range linear{touch.linear, touch.linear + (touch.size - 1)}, physical{touch.gpa, touch.gpa + (touch.size - 1)};
  auto kind = static_cast<size_t>(touch.direction);
  if (!linear_[kind].touches(linear) && !physical_[kind].touches(physical)) return false;
  bool is_write = touch.direction == vm::Direction::write;
  for (const DebugRange& one : debug_) {
    if (!one.ports && (is_write || one.on_read) && one.range.touches(linear)) hits_.debug_bits |= one.bit;
  }
  bool better = !hits_.watchpoint || (is_write && hits_.watchpoint->direction == vm::Direction::read);
  if (better) find_watchpoint(touch, linear, physical);
  return true;
}

void Watches::find_watchpoint(const Touch& touch, const RangeSet::Range& linear, const RangeSet::Range& physical) {
  for (size_t i = 0; i < watchpoints_.size(); ++i) {
    const vm::Watchpoint& one = watchpoints_[i];
    if (!(touch.direction == vm::Direction::write ? one.on_write : one.on_read)) continue;
    const RangeSet::Range& accessed = one.by == vm::Watchpoint::By::linear ? linear : physical;
    if (!range_of(one).touches(accessed)) continue;
    hits_.watchpoint =
        vm::WatchHit{i, std::max(one.first, accessed.first), touch.direction, vm::GuestVirt{touch.instruction}};
    return;
  }
}

bool Watches::note_port(uint16_t port, unsigned size) {
  RangeSet::Range accessed{port, uint64_t{port} + size - 1};
  uint64_t bits = 0;
  for (const DebugRange& one : debug_) {
    if (one.ports && one.range.touches(accessed)) bits |= one.bit;
  }
  hits_.debug_bits |= bits;
  return bits != 0;
}

}  // namespace dejavm::soft
