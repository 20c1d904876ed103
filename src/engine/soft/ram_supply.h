// Host memory for the guest's RAM, a piece at a time: one call of the host for many pages costs less than a page fault for
// each of them.
#pragma once

#include <cstdint>
#include <vector>

#include "vm/guest_memory.h"

namespace dejavm::soft {

/// Borrows the memory. Changes nothing that a guest could see.
class RamSupply {
 public:
  explicit RamSupply(vm::GuestMemory& memory) : memory_(memory), supplied_(memory.page_count() / kPagesAtOnce + 1) {}

  /// The page of the backing will be written.
  void expect_write(uint64_t page) {
    if (!supplied_[page / kPagesAtOnce]) supply(page / kPagesAtOnce);
  }

 private:
  static constexpr uint64_t kPagesAtOnce = 16;

  void supply(uint64_t piece);

  vm::GuestMemory& memory_;
  std::vector<bool> supplied_;  // pieces
};

}  // namespace dejavm::soft
