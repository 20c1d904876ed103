// What a guest that starts without firmware is told of its physical memory.
#pragma once

#include <cstdint>

namespace dejavm::loader {

/// A range of guest physical memory. Usable: ordinary RAM (type 1 of an e820 map); else reserved (type 2).
struct MemoryArea {
  uint64_t base = 0;
  uint64_t size = 0;
  bool usable = false;
  bool operator==(const MemoryArea&) const = default;
};

}  // namespace dejavm::loader
