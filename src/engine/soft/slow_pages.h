// Translations of pages whose accesses are not plain memory accesses: devices, ROM that is written, pages with code, watched
// pages.
#pragma once

#include <array>
#include <cstdint>

#include "engine/soft/tlb.h"

namespace dejavm::soft {

/// What one page of the linear space means for one kind of access.
struct PagePlace {
  static constexpr uint64_t kNoPage = ~uint64_t{0};
  static constexpr uint64_t kUnknownGpa = ~uint64_t{0xfff};  ///< the page's place came out of the Tlb, which does not know

  uint64_t linear = 0;         ///< where the page begins
  uint64_t gpa = kUnknownGpa;  ///< likewise
  uint64_t page = kNoPage;     ///< of the backing; kNoPage: a device or nothing
  bool writable = false;       ///< memory that the guest may change
  bool opened_by_ac = false;   ///< see Walk

  bool is_memory() const { return page != kNoPage; }
};

/// Direct-mapped, beside the Tlb: makes the slow way walk no page tables. The same invariant.
class SlowPages {
 public:
  const PagePlace* find(bool user, Reach reach, uint64_t linear) const {
    const Slot& slot = slots_[user][static_cast<size_t>(reach)][index(linear)];
    return slot.flushes == flushes_ && slot.place.linear == (linear & ~uint64_t{0xfff}) ? &slot.place : nullptr;
  }
  void put(bool user, Reach reach, const PagePlace& place) {
    slots_[user][static_cast<size_t>(reach)][index(place.linear)] = {place, flushes_};
  }
  void flush() { ++flushes_; }
  void drop_page(uint64_t linear) {
    for (auto& by_reach : slots_) {
      for (auto& table : by_reach) {
        Slot& slot = table[index(linear)];
        if (slot.place.linear == (linear & ~uint64_t{0xfff})) slot.flushes = 0;
      }
    }
  }

 private:
  static constexpr size_t kSlots = 64;
  struct Slot {
    PagePlace place;
    uint64_t flushes = 0;  // the slot holds something while this is the number of flushes so far
  };
  static size_t index(uint64_t linear) { return (linear >> 12) % kSlots; }

  std::array<std::array<std::array<Slot, kSlots>, 3>, 2> slots_{};
  uint64_t flushes_ = 1;
};

}  // namespace dejavm::soft
