#include "engine/soft/tlb.h"

namespace dejavm::soft {

void Tlb::install(bool user, Reach reach, uint64_t linear, const uint8_t* host) {
  TlbEntry& slot = entry(user, reach, linear);
  if (slot.tag == TlbEntry::kEmpty) {
    if (used_.size() < kRemembered) {
      used_.push_back({user, reach, static_cast<uint16_t>((linear >> 12) % kEntries)});
    } else {
      too_many_ = true;
    }
  }
  slot.tag = linear & ~uint64_t{0xfff};
  slot.addend = reinterpret_cast<uint64_t>(host) - slot.tag;
}

void Tlb::flush() {
  if (too_many_) {
    for (auto& by_reach : entries_) {
      for (auto& table : by_reach) table.fill(TlbEntry{});
    }
  } else {
    for (Slot slot : used_) at(slot).tag = TlbEntry::kEmpty;
  }
  used_.clear();
  too_many_ = false;
}

void Tlb::drop_page(uint64_t linear) {
  for (bool user : {false, true}) {
    for (Reach reach : {Reach::read, Reach::write, Reach::execute}) {
      TlbEntry& slot = entry(user, reach, linear);
      if (slot.hits(linear, 1)) slot.tag = TlbEntry::kEmpty;
    }
  }
}

template <typename Visit>
void Tlb::for_each_write(Visit visit) {
  if (too_many_) {
    for (auto& by_reach : entries_) {
      for (TlbEntry& slot : by_reach[static_cast<size_t>(Reach::write)]) visit(slot);
    }
  } else {
    for (Slot slot : used_) {
      if (slot.reach == Reach::write) visit(at(slot));
    }
  }
}

void Tlb::drop_writes_to(const uint8_t* host) {
  for_each_write([host](TlbEntry& slot) {
    if (slot.tag != TlbEntry::kEmpty && slot.host(slot.tag) == host) slot.tag = TlbEntry::kEmpty;
  });
}

void Tlb::drop_all_writes() {
  for_each_write([](TlbEntry& slot) { slot.tag = TlbEntry::kEmpty; });
}

}  // namespace dejavm::soft
