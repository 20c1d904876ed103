// Guest address spaces as types, so that a virtual address is never taken for a physical one.
#pragma once

#include <compare>
#include <cstdint>

namespace dejavm::vm {

inline constexpr uint64_t kPageSize = 4096;

/// A guest physical address.
struct GuestPhys {
  uint64_t value = 0;
  auto operator<=>(const GuestPhys&) const = default;
  GuestPhys operator+(uint64_t offset) const { return {value + offset}; }
};

/// A linear address of the guest (segment base already added).
struct GuestVirt {
  uint64_t value = 0;
  auto operator<=>(const GuestVirt&) const = default;
  GuestVirt operator+(uint64_t offset) const { return {value + offset}; }
};

}  // namespace dejavm::vm
