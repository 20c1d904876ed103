// Who gets which piece of the guest's RAM before the guest starts.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "vm/loader/memory_area.h"

namespace dejavm::loader {

/// Hands out guest physical memory. Pieces never overlap and lie in usable areas.
class BootMemory {
 public:
  /// Areas are sorted by base and do not overlap.
  explicit BootMemory(std::vector<MemoryArea> areas) : areas_(std::move(areas)) {}

  const std::vector<MemoryArea>& areas() const { return areas_; }

  /// Takes [base, base + size). The error says why it cannot be had: no RAM there, or what is there already.
  Status take(uint64_t base, uint64_t size, const std::string& what);

  /// Takes the lowest free piece with least <= base and base + size <= end. `align` is a power of two.
  Result<uint64_t> take_lowest(uint64_t size, uint64_t align, uint64_t least, uint64_t end, const std::string& what);
  /// Takes the highest free piece.
  Result<uint64_t> take_highest(uint64_t size, uint64_t align, uint64_t least, uint64_t end, const std::string& what);

 private:
  struct Taken {
    uint64_t end;
    std::string what;
  };

  /// The lowest piece that overlaps [base, base + size), or null.
  const std::map<uint64_t, Taken>::value_type* overlapping(uint64_t base, uint64_t size) const;
  tl::unexpected<Error> no_room(uint64_t size, uint64_t least, uint64_t end, const std::string& what) const;

  std::vector<MemoryArea> areas_;
  std::map<uint64_t, Taken> taken_;
};

}  // namespace dejavm::loader
