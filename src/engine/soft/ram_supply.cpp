#include "engine/soft/ram_supply.h"

#include <sys/mman.h>

#include <algorithm>

namespace dejavm::soft {

/// Where the host does not know how (Linux before 5.14), or has no memory left, the pages come when they are touched.
void RamSupply::supply(uint64_t piece) {
  supplied_[piece] = true;
#ifdef MADV_POPULATE_WRITE
  uint64_t first = piece * kPagesAtOnce, count = std::min(kPagesAtOnce, memory_.page_count() - first);
  static_cast<void>(::madvise(memory_.host(first * vm::kPageSize), count * vm::kPageSize, MADV_POPULATE_WRITE));
#endif
}

}  // namespace dejavm::soft
