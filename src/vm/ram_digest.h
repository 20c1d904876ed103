// The content digest of guest RAM: the sum modulo 2^64 of H(page number, contents) over all pages that are not zero.
// It does not depend on which pages an engine calls dirty, so digests of different engines and runs compare.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "vm/guest_memory.h"

namespace dejavm::vm {

/// H(page number, contents): XXH3-64 of the page seeded with its number; 0 for a page of zeros.
uint64_t page_hash(uint64_t page_number, ByteSpan page);

/// Keeps the digest up to date from the pages that may have changed. Covers RAM, not ROM.
class RamDigest {
 public:
  /// Hashes all of RAM.
  explicit RamDigest(const GuestMemory& memory);
  /// Of RAM that is all zero; touches none of it.
  static RamDigest of_zeros(uint64_t ram_size) { return RamDigest(ram_size); }

  /// Re-hashes the given pages (backing page numbers; ROM pages are passed over). Returns those whose hash changed.
  std::vector<std::pair<uint64_t, uint64_t>> update(const GuestMemory& memory, const std::vector<uint64_t>& pages);

  uint64_t value() const { return sum_; }
  uint64_t page(uint64_t page_number) const { return hashes_[page_number]; }

 private:
  explicit RamDigest(uint64_t ram_size) : hashes_(ram_size / kPageSize) {}

  std::vector<uint64_t> hashes_;
  uint64_t sum_ = 0;
};

}  // namespace dejavm::vm
