// Translations in use: linear page to host address, by privilege and kind of access.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace dejavm::soft {

enum class Reach : uint8_t { read = 0, write = 1, execute = 2 };

/// Plain memory only: RAM and ROM for reads, RAM without code or watchpoints for writes. Two words, so that translated code
/// can look entries up itself. An empty entry has the tag of a page that is never looked for there.
struct TlbEntry {
  uint64_t tag = 0;   ///< linear address of the page
  uint64_t page = 0;  ///< where the host has the page; of an entry for Reach::execute: its code key

  /// A linear page and the page of the backing that it leads to, in one number: what translated code compares.
  static constexpr uint64_t kMaxCodePages = (uint64_t{1} << 28) - 1;
  static constexpr uint64_t code_key(uint64_t linear, uint64_t page) { return linear >> 12 << 28 | page; }
  static constexpr uint64_t page_of_code(uint64_t key) { return key & kMaxCodePages; }

  /// Whether `size` bytes at `linear` lie in this page.
  bool hits(uint64_t linear, uint64_t size) const { return linear - tag <= 0x1000 - size; }
  uint8_t* host(uint64_t linear) const { return reinterpret_cast<uint8_t*>(page + (linear & 0xfff)); }
};

/// Direct-mapped. Invariant: an entry says what a walk of the guest's page tables would say (LinearMemory sees to it), so
/// that no run of the guest depends on what happens to be in here.
class Tlb {
 public:
  static constexpr size_t kEntries = 1024;

  Tlb();

  TlbEntry& entry(bool user, Reach reach, uint64_t linear) {
    return entries_[user][static_cast<size_t>(reach)][index(linear)];
  }
  /// host: where the page that holds `linear` begins.
  void install(bool user, Reach reach, uint64_t linear, const uint8_t* host);
  /// For Reach::execute. page: of the backing.
  void install_code(bool user, uint64_t linear, uint64_t page);

  /// Costs by the number of entries in use.
  void flush();
  /// All entries of the page that holds `linear`.
  void drop_page(uint64_t linear);
  /// All entries of the regions whose bits are set: 512 GiB each, by bits 39 to 47 of the address. Costs as flush() does.
  void drop_regions(const std::bitset<512>& regions);
  /// The write entries that lead to the page at `host`.
  void drop_writes_to(const uint8_t* host);
  void drop_all_writes();

 private:
  struct Slot {
    bool user;
    Reach reach;
    uint16_t index;
  };
  TlbEntry& at(Slot slot) { return entries_[slot.user][static_cast<size_t>(slot.reach)][slot.index]; }
  static constexpr size_t region(uint64_t linear) { return linear >> 39 & 511; }
  static constexpr size_t index(uint64_t linear) { return (linear >> 12) % kEntries; }
  static constexpr TlbEntry empty(size_t index) { return {index == 0 ? 0x1000u : 0, ~uint64_t{0}}; }
  void put(bool user, Reach reach, TlbEntry entry);
  template <typename Visit>
  void for_each_write(Visit visit);

  std::array<std::array<std::array<TlbEntry, kEntries>, 3>, 2> entries_{};
  std::array<std::array<std::bitset<kEntries>, 3>, 2> is_listed_;  // in used_
  std::bitset<512> regions_;                                       // that hold entries; an emptied one may be set, too
  std::vector<Slot> used_;  // every entry that is not empty is in here, once; an emptied one may be, too
};

}  // namespace dejavm::soft
