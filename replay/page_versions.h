// The contents of pages of guest memory at moments of a replay, each kept once for as long as it stays the same.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "replay/position.h"
#include "vm/guest_memory.h"

namespace dejavm::replay {

/// A page has its version of a moment until the next moment with a version of its own; before its first version it is zero.
/// Not movable: the contents that it hands out count themselves here.
class PageVersions {
 public:
  using Page = std::array<uint8_t, vm::kPageSize>;
  using Contents = std::shared_ptr<const Page>;  ///< null: zeros

  PageVersions() = default;
  PageVersions(const PageVersions&) = delete;
  PageVersions& operator=(const PageVersions&) = delete;

  Contents copy(ByteSpan page);
  static bool same(const Contents& contents, ByteSpan page);

  /// What the page holds at a moment.
  Contents at(uint64_t page, const Moment& when) const;
  /// Whether the page has a version of exactly this moment.
  bool has(uint64_t page, const Moment& when) const;
  /// Adds or replaces the version of a moment.
  void put(uint64_t page, const Moment& when, Contents contents);
  void remove(uint64_t page, const Moment& when);
  /// The numbers of all pages that have a version, in any order.
  std::vector<uint64_t> pages() const;

  /// Of all contents that are in use.
  uint64_t bytes() const { return pages_ * vm::kPageSize; }

 private:
  struct Version {
    Moment since;
    Contents contents;
  };
  using Versions = std::vector<Version>;  // ascending

  uint64_t pages_ = 0;
  std::unordered_map<uint64_t, Versions> versions_;
};

}  // namespace dejavm::replay
