// Random numbers with a taste for edges.
#pragma once

#include <cstdint>
#include <random>

#include "guest_image.h"

namespace dejavm::differential {

/// 64 bits: small, a mask, a power of two, a pointer into kData (also to a page's end), or anything.
inline uint64_t random_value(std::mt19937_64& random, Mode mode) {
  switch (random() % 8) {
    case 0:
      return random();
    case 1:
      return random() % 16;
    case 2:
      return ~uint64_t{0} << random() % 64;
    case 3:
      return uint64_t{1} << random() % 64;
    case 4:
      return data_offset(mode) + (1 + random() % 14) * 0x1000 - random() % 16;
    default:
      return data_offset(mode) + kDataSize / 4 + random() % (kDataSize / 2);
  }
}

}  // namespace dejavm::differential
