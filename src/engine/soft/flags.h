// RFLAGS (AMD64 APM volume 1, section 3.1.4) and how arithmetic sets its status flags.
#pragma once

#include <cstdint>

namespace dejavm::soft {

inline constexpr uint64_t kCf = 1u << 0, kPf = 1u << 2, kAf = 1u << 4, kZf = 1u << 6, kSf = 1u << 7, kTf = 1u << 8,
                          kIf = 1u << 9, kDf = 1u << 10, kOf = 1u << 11, kIopl = 3u << 12, kNt = 1u << 14, kRf = 1u << 16,
                          kVm = 1u << 17, kAc = 1u << 18, kVif = 1u << 19, kVip = 1u << 20, kId = 1u << 21;
inline constexpr uint64_t kStatusFlags = kCf | kPf | kAf | kZf | kSf | kOf;

/// PF, ZF and SF of a result, without branches.
template <typename T>
constexpr uint64_t result_flags(T result) {
  unsigned nibble = (static_cast<unsigned>(result) ^ static_cast<unsigned>(result) >> 4) & 15;
  uint64_t parity = 0x9669u >> nibble & 1;  // bit n: whether n has an even number of ones
  return parity << 2 | uint64_t{result == 0} << 6 | static_cast<uint64_t>(result >> (8 * sizeof(T) - 1)) << 7;
}

/// Condition 0-15 of Jcc, SETcc, CMOVcc.
inline bool holds(uint64_t flags, unsigned condition) {
  bool value = false;
  switch (condition >> 1) {
    case 0:
      value = (flags & kOf) != 0;
      break;
    case 1:
      value = (flags & kCf) != 0;
      break;
    case 2:
      value = (flags & kZf) != 0;
      break;
    case 3:
      value = (flags & (kCf | kZf)) != 0;
      break;
    case 4:
      value = (flags & kSf) != 0;
      break;
    case 5:
      value = (flags & kPf) != 0;
      break;
    case 6:
      value = ((flags & kSf) != 0) != ((flags & kOf) != 0);
      break;
    default:
      value = (flags & kZf) != 0 || ((flags & kSf) != 0) != ((flags & kOf) != 0);
      break;
  }
  return value != ((condition & 1) != 0);
}

}  // namespace dejavm::soft
