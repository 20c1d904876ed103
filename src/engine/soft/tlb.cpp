#include "engine/soft/tlb.h"

namespace dejavm::soft {

Tlb::Tlb() {
  used_.reserve(6 * kEntries);
  for (auto& by_reach : entries_) {
    for (auto& table : by_reach) {
      for (size_t i = 0; i < kEntries; ++i) table[i] = empty(i);
    }
  }
}

void Tlb::put(bool user, Reach reach, TlbEntry entry) {
  size_t at = index(entry.tag);
  auto listed = is_listed_[user][static_cast<size_t>(reach)][at];
  if (!listed) {
    listed = true;
    used_.push_back({user, reach, static_cast<uint16_t>(at)});
  }
  entries_[user][static_cast<size_t>(reach)][at] = entry;
  regions_[region(entry.tag)] = true;
}

void Tlb::install(bool user, Reach reach, uint64_t linear, const uint8_t* host) {
  put(user, reach, {linear & ~uint64_t{0xfff}, reinterpret_cast<uint64_t>(host)});
}

void Tlb::install_code(bool user, uint64_t linear, uint64_t page) {
  put(user, Reach::execute, {linear & ~uint64_t{0xfff}, TlbEntry::code_key(linear, page)});
}

void Tlb::flush() {
  for (Slot slot : used_) {
    at(slot) = empty(slot.index);
    is_listed_[slot.user][static_cast<size_t>(slot.reach)][slot.index] = false;
  }
  used_.clear();
  regions_.reset();
}

void Tlb::drop_regions(const std::bitset<512>& regions) {
  if ((regions & regions_).none()) return;
  for (Slot slot : used_) {
    if (regions[region(at(slot).tag)]) at(slot) = empty(slot.index);
  }
  regions_ &= ~regions;
}

void Tlb::drop_page(uint64_t linear) {
  for (bool user : {false, true}) {
    for (Reach reach : {Reach::read, Reach::write, Reach::execute}) {
      TlbEntry& slot = entry(user, reach, linear);
      if (slot.hits(linear, 1)) slot = empty(index(linear));
    }
  }
}

template <typename Visit>
void Tlb::for_each_write(Visit visit) {
  for (Slot slot : used_) {
    if (slot.reach == Reach::write) visit(at(slot), slot.index);
  }
}

void Tlb::drop_writes_to(const uint8_t* host) {
  for_each_write([host](TlbEntry& slot, size_t index) {
    if (slot.page == reinterpret_cast<uint64_t>(host)) slot = empty(index);
  });
}

void Tlb::drop_all_writes() {
  for_each_write([](TlbEntry& slot, size_t index) { slot = empty(index); });
}

}  // namespace dejavm::soft
