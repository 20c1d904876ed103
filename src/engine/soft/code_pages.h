// Which pages of the backing hold decoded code, so that a change of them is noticed.
#pragma once

#include <cstdint>
#include <vector>

namespace dejavm::soft {

/// Every page of the backing has a generation; whoever keeps something that was decoded from a page keeps the generation
/// with it, and it is stale when they differ. Decoded bytes are marked in pieces of 64, so that data beside code costs no
/// decoding.
class CodePages {
 public:
  explicit CodePages(uint64_t page_count) : generation_(page_count), pieces_(page_count) {}

  uint32_t generation(uint64_t page) const { return generation_[page]; }
  const uint32_t* generation_address(uint64_t page) const { return &generation_[page]; }
  bool holds_code(uint64_t page) const { return pieces_[page] != 0; }

  /// Bytes [first, last] of the page, 0 to 4095, were decoded. True when the page held no code before (its writable
  /// translations must go then).
  bool mark(uint64_t page, uint32_t first, uint32_t last) {
    bool fresh = pieces_[page] == 0;
    pieces_[page] |= mask(first, last);
    return fresh;
  }
  /// Those bytes were written. True when decoded code has become stale.
  bool written(uint64_t page, uint32_t first, uint32_t last) {
    if ((pieces_[page] & mask(first, last)) == 0) return false;
    ++generation_[page];
    pieces_[page] = 0;
    ++changes_;
    return true;
  }
  /// Everything decoded from the page is stale.
  void invalidate(uint64_t page) {
    ++generation_[page];
    pieces_[page] = 0;
    ++changes_;
  }
  /// Translations changed under the running code: whoever runs a block looks up where it is anew.
  void translations_changed() { ++changes_; }
  /// Counts the times that code became stale or moved: cheap to compare after an instruction that may have written its own
  /// block.
  uint64_t changes() const { return changes_; }

 private:
  static uint64_t mask(uint32_t first, uint32_t last) {
    uint64_t up_to_last = ~uint64_t{0} >> (63 - last / 64);
    return up_to_last & (~uint64_t{0} << (first / 64));
  }

  std::vector<uint32_t> generation_;
  std::vector<uint64_t> pieces_;
  uint64_t changes_ = 0;
};

}  // namespace dejavm::soft
