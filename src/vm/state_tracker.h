// The digest of RAM and the pages that changed, kept up to date for one vCPU over its memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/result.h"
#include "vm/guest_memory.h"
#include "vm/ram_digest.h"
#include "vm/vcpu.h"

namespace dejavm::vm {

/// Borrowed vcpu and memory outlive it; nobody else takes the memory's dirty pages. Create it when the memory has its
/// initial contents: all that is not zero is dirty then, and the rest of a large RAM is not touched. refresh() costs what
/// the pages changed since the last one cost: the engine's dirty log and a hash of each.
class StateTracker {
 public:
  StateTracker(Vcpu& vcpu, GuestMemory& memory)
      : vcpu_(vcpu), memory_(memory), digest_(RamDigest::of_zeros(memory.ram_size())) {
    digest_.update(memory_, memory_.take_dirty());
  }

  /// Brings the digest up to date and returns it. At a consistent point.
  Result<uint64_t> refresh() {
    TRY(vcpu_.collect_dirty());
    std::vector<uint64_t> pages = memory_.take_dirty();
    changed_lately_ = digest_.update(memory_, pages);
    for (auto [page, hash] : changed_lately_) changed_[page] = hash;
    touched_.insert(pages.begin(), pages.end());
    return digest_.value();
  }

  uint64_t page(uint64_t page_number) const { return digest_.page(page_number); }

  /// The pages that take_changed() would give.
  std::vector<uint64_t> changed() const {
    std::vector<uint64_t> pages;
    for (const auto& [page, hash] : changed_) pages.push_back(page);
    return pages;
  }

  /// Whether the last refresh() found other contents than the one before it.
  bool changed_lately(uint64_t page_number) const {
    auto same = [&](const std::pair<uint64_t, uint64_t>& page) { return page.first == page_number; };
    return std::any_of(changed_lately_.begin(), changed_lately_.end(), same);
  }

  /// (page, hash) of the RAM pages whose contents changed since the last call, ascending, as of the last refresh().
  std::vector<std::pair<uint64_t, uint64_t>> take_changed() {
    std::vector<std::pair<uint64_t, uint64_t>> pages(changed_.begin(), changed_.end());
    changed_.clear();
    return pages;
  }
  /// All pages (ROM too) that may have changed since the last call, ascending.
  std::vector<uint64_t> take_touched() {
    std::vector<uint64_t> pages(touched_.begin(), touched_.end());
    touched_.clear();
    return pages;
  }

 private:
  Vcpu& vcpu_;
  GuestMemory& memory_;
  RamDigest digest_;
  std::vector<std::pair<uint64_t, uint64_t>> changed_lately_;
  std::map<uint64_t, uint64_t> changed_;
  std::set<uint64_t> touched_;
};

}  // namespace dejavm::vm
