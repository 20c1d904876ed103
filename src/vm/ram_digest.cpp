#include "vm/ram_digest.h"

#include <xxhash.h>

#include <algorithm>

namespace dejavm::vm {

uint64_t page_hash(uint64_t page_number, ByteSpan page) {
  static constexpr uint8_t kZeros[kPageSize] = {};
  if (std::memcmp(page.data(), kZeros, kPageSize) == 0) return 0;
  return XXH3_64bits_withSeed(page.data(), page.size(), page_number);
}

RamDigest::RamDigest(const GuestMemory& memory) : RamDigest(memory.ram_size()) {
  for (uint64_t page = 0; page < hashes_.size(); ++page) {
    hashes_[page] = page_hash(page, memory.page(page));
    sum_ += hashes_[page];
  }
}

std::vector<std::pair<uint64_t, uint64_t>> RamDigest::update(const GuestMemory& memory, const std::vector<uint64_t>& pages) {
  std::vector<std::pair<uint64_t, uint64_t>> changed;
  for (uint64_t page : pages) {
    if (page >= hashes_.size()) continue;
    uint64_t now = page_hash(page, memory.page(page));
    if (now == hashes_[page]) continue;
    sum_ += now - hashes_[page];
    hashes_[page] = now;
    changed.emplace_back(page, now);
  }
  return changed;
}

}  // namespace dejavm::vm
