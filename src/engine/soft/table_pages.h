// Which pages of the backing hold page tables that translations in use were made from.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "vm/address.h"

namespace dejavm::soft {

/// A CPU may keep a translation until it is told to forget it. This one must not: whether it still has one depends on when
/// the guest was last saved and restored, and would show in the accessed and dirty bits and in what a stale translation
/// reaches. So pages that were walked through are known, writes to them are noticed, and what they change is forgotten.
class TablePages {
 public:
  explicit TablePages(uint64_t page_count) : kinds_(page_count, Kind::none) {}

  bool holds(uint64_t page) const { return kinds_[page] != Kind::none; }

  /// The page holds entries of 4 KiB pages, `entry_size` bytes each, the first of which maps `first_linear`; a walk used
  /// one. True when the page was not known as a table (its writable translations must go then).
  bool mark_last_level(uint64_t page, uint64_t first_linear, unsigned entry_size);
  /// The page holds any other entries; a walk used one.
  bool mark(uint64_t page);

  /// `size` bytes at `offset` of a page that holds tables, `table`, are about to become `bytes`. Calls forget(linear) for
  /// each page whose translation will be no more what it is, and returns true; or returns false when that may be any page.
  template <typename Forget>
  bool change(uint64_t page, const uint8_t* table, uint32_t offset, const uint8_t* bytes, uint32_t size,
              Forget forget) const;

  /// How many pages.
  size_t size() const { return marked_.size(); }

  /// No translation is in use any more.
  void clear();

 private:
  enum class Kind : uint8_t { none, last_level, other };
  struct LastLevel {
    uint64_t first_linear;
    unsigned entry_size;
  };

  std::vector<Kind> kinds_;
  std::vector<uint64_t> marked_;
  std::unordered_map<uint64_t, LastLevel> last_levels_;  // by page
};

template <typename Forget>
bool TablePages::change(uint64_t page, const uint8_t* table, uint32_t offset, const uint8_t* bytes, uint32_t size,
                        Forget forget) const {
  constexpr uint32_t kWord = 8;  // one entry or two
  uint32_t end = offset + size;
  for (uint32_t at = offset / kWord * kWord; at < end; at += kWord) {
    uint32_t first = std::max(at, offset), last = std::min(at + kWord, end);
    if (std::memcmp(table + first, bytes + (first - offset), last - first) == 0) continue;
    bool in_use = ((table[at] | table[at + 4]) & 1) != 0;  // what is not present is in no translation
    if (!in_use) continue;
    if (kinds_[page] != Kind::last_level) return false;
    const LastLevel& level = last_levels_.at(page);
    uint64_t entry = at / level.entry_size;
    for (uint32_t done = 0; done < kWord; done += level.entry_size) forget(level.first_linear + entry++ * vm::kPageSize);
  }
  return true;
}

}  // namespace dejavm::soft
