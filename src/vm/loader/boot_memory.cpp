#include "vm/loader/boot_memory.h"

#include <algorithm>
#include <optional>

#include "base/check.h"

namespace dejavm::loader {
namespace {

constexpr const char* kMoreMemory = "Give the guest more RAM (-m), or build the file for another address.";

std::optional<uint64_t> align_up(uint64_t value, uint64_t align) {
  if (value > UINT64_MAX - (align - 1)) return std::nullopt;
  return (value + align - 1) & ~(align - 1);
}

}  // namespace

const std::map<uint64_t, BootMemory::Taken>::value_type* BootMemory::overlapping(uint64_t base, uint64_t size) const {
  auto after = taken_.upper_bound(base);
  if (after != taken_.begin() && std::prev(after)->second.end > base) return &*std::prev(after);
  if (after != taken_.end() && after->first - base < size) return &*after;
  return nullptr;
}

Status BootMemory::take(uint64_t base, uint64_t size, const std::string& what) {
  CHECK(size > 0);
  bool inside = std::any_of(areas_.begin(), areas_.end(), [&](const MemoryArea& area) {
    return area.usable && base >= area.base && size <= area.size && base - area.base <= area.size - size;
  });
  if (!inside) {
    return fail(fmt::format("{} wants {:#x} bytes at {:#x}, and the guest has no RAM there", what, size, base), kMoreMemory);
  }
  if (const auto* other = overlapping(base, size)) {
    return fail(fmt::format("{} ({:#x} bytes at {:#x}) overlaps {} ({:#x} to {:#x})", what, size, base, other->second.what,
                            other->first, other->second.end - 1),
                "Build the file so that its parts are apart.");
  }
  taken_[base] = {base + size, what};
  return {};
}

tl::unexpected<Error> BootMemory::no_room(uint64_t size, uint64_t least, uint64_t end, const std::string& what) const {
  return fail(
      fmt::format("there is no room for {}: {:#x} bytes of free RAM between {:#x} and {:#x}", what, size, least, end),
      "Give the guest more RAM (-m).");
}

Result<uint64_t> BootMemory::take_lowest(uint64_t size, uint64_t align, uint64_t least, uint64_t end,
                                         const std::string& what) {
  CHECK(size > 0 && align > 0 && (align & (align - 1)) == 0);
  for (const MemoryArea& area : areas_) {
    if (!area.usable) continue;
    uint64_t area_end = std::min(end, area.base + area.size);
    std::optional<uint64_t> at = align_up(std::max(area.base, least), align);
    while (at && *at < area_end && size <= area_end - *at) {
      const auto* other = overlapping(*at, size);
      if (other == nullptr) {
        TRY(take(*at, size, what));
        return *at;
      }
      at = align_up(other->second.end, align);
    }
  }
  return no_room(size, least, end, what);
}

Result<uint64_t> BootMemory::take_highest(uint64_t size, uint64_t align, uint64_t least, uint64_t end,
                                          const std::string& what) {
  CHECK(size > 0 && align > 0 && (align & (align - 1)) == 0);
  for (auto area = areas_.rbegin(); area != areas_.rend(); ++area) {
    if (!area->usable) continue;
    uint64_t area_least = std::max(area->base, least);
    uint64_t top = std::min(end, area->base + area->size);
    while (top >= size && (top - size) / align * align >= area_least) {
      uint64_t at = (top - size) / align * align;
      const auto* other = overlapping(at, size);
      if (other == nullptr) {
        TRY(take(at, size, what));
        return at;
      }
      top = other->first;
    }
  }
  return no_room(size, least, end, what);
}

}  // namespace dejavm::loader
