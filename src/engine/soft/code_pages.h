// Which bytes of the backing were decoded, so that a change of them is noticed.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace dejavm::soft {

/// Decoded bytes are marked in pieces of 64, so that data beside code, and code beside code that is patched, cost no
/// decoding. A piece has a generation: what was decoded from it is stale when that has changed.
class CodePages {
 public:
  /// Which pieces of a page, the lowest bit for bytes 0 to 63.
  using Pieces = uint64_t;
  /// `first` and `last`, 0 to 4095, are bytes of one page.
  static Pieces pieces(uint32_t first, uint32_t last) {
    Pieces up_to_last = ~Pieces{0} >> (63 - last / 64);
    return up_to_last & (~Pieces{0} << (first / 64));
  }

  explicit CodePages(uint64_t page_count) : pages_(page_count) {}

  /// `stale` is told of the pieces of a page whose decoded bytes are written.
  void set_listener(std::function<void(uint64_t page, Pieces stale)> stale) { stale_ = std::move(stale); }

  bool holds_code(uint64_t page) const { return pages_[page] != nullptr && pages_[page]->marked != 0; }

  /// The generation of pieces together: it changes when one of theirs does.
  uint32_t generation(uint64_t page, Pieces pieces) const {
    if (pages_[page] == nullptr) return 0;
    uint32_t sum = 0;
    for (; pieces != 0; pieces &= pieces - 1) sum += pages_[page]->generation[static_cast<size_t>(std::countr_zero(pieces))];
    return sum;
  }

  /// Those pieces of the page were decoded. True when the page held no code before (its writable translations must go then).
  bool mark(uint64_t page, Pieces pieces) {
    if (pages_[page] == nullptr) pages_[page] = std::make_unique<Page>();
    return std::exchange(pages_[page]->marked, pages_[page]->marked | pieces) == 0;
  }
  /// Bytes [first, last] of the page were written.
  void written(uint64_t page, uint32_t first, uint32_t last) {
    if (pages_[page] != nullptr) make_stale(page, pages_[page]->marked & pieces(first, last));
  }
  /// Translations changed under the running code: whoever runs a block looks up where it is anew.
  void translations_changed() { ++changes_; }
  /// Counts the times that code became stale or moved: cheap to compare after an instruction that may have written its own
  /// block.
  uint64_t changes() const { return changes_; }

 private:
  struct Page {
    Pieces marked = 0;
    std::array<uint32_t, 64> generation{};
  };

  void make_stale(uint64_t page, Pieces stale) {
    if (stale == 0) return;
    pages_[page]->marked &= ~stale;
    for (Pieces left = stale; left != 0; left &= left - 1) {
      ++pages_[page]->generation[static_cast<size_t>(std::countr_zero(left))];
    }
    ++changes_;
    if (stale_) stale_(page, stale);
  }

  std::vector<std::unique_ptr<Page>> pages_;  // null: never held code
  std::function<void(uint64_t page, Pieces stale)> stale_;
  uint64_t changes_ = 0;
};

}  // namespace dejavm::soft
