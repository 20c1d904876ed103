#include "engine/soft/approximation.h"

#include <cmath>

namespace dejavm::soft {
namespace {

constexpr uint32_t kSign = 0x80000000, kInfinity = 0x7f800000, kFraction = 0x7fffff, kQuiet = 0x400000;
constexpr uint32_t kDefaultNan = 0xffc00000;
constexpr int kBias = 127;

int exponent_of(uint32_t x) { return static_cast<int>(x >> 23 & 0xff); }
unsigned index_of(uint32_t x) { return (x & kFraction) >> 11; }
bool is_nan(uint32_t x) { return (x & ~kSign) > kInfinity; }

int correction(const uint64_t* table, unsigned index) {
  return static_cast<int>(table[index / 32] >> 2 * (index % 32) & 3) - 1;
}

/// Where the formulas sample an interval of 1/4096: a quarter in, and rounding up from three quarters.
double sample(unsigned index) { return 1 + (index + 0.25) / kApproximationEntries; }
int rounded(double value) { return static_cast<int>(std::floor(value + 0.25)); }

/// `units` * 2^-13, which is in [1/2, 1), times 2^exponent; zero below the normal numbers.
uint32_t scaled(int units, int exponent) {
  int biased = kBias - 1 + exponent;
  if (biased <= 0) return 0;
  return static_cast<uint32_t>(biased) << 23 | static_cast<uint32_t>(units - 4096) << 11;
}

}  // namespace

int reciprocal_formula(unsigned index) { return rounded(8192 / sample(index)); }
int inverse_root_formula(unsigned index, bool odd) {
  return rounded(8192 / std::sqrt(odd ? 2 * sample(index) : sample(index)));
}

uint32_t approximate_reciprocal(uint32_t x) {
  uint32_t sign = x & kSign;
  if (is_nan(x)) return x | kQuiet;
  if ((x & ~kSign) == kInfinity) return sign;
  if (exponent_of(x) == 0) return sign | kInfinity;  // zero, and denormals count as zero
  unsigned index = index_of(x);
  int units = reciprocal_formula(index) + correction(kReciprocalCorrections, index);
  return sign | scaled(units, kBias - exponent_of(x));
}

uint32_t approximate_inverse_root(uint32_t x) {
  if (is_nan(x)) return x | kQuiet;
  if (exponent_of(x) == 0) return (x & kSign) | kInfinity;
  if ((x & kSign) != 0) return kDefaultNan;
  if (x == kInfinity) return 0;
  bool odd = (exponent_of(x) - kBias) % 2 != 0;
  unsigned index = index_of(x);
  int units = inverse_root_formula(index, odd) + correction(kInverseRootCorrections[odd], index);
  int even_exponent = exponent_of(x) - kBias - (odd ? 1 : 0);
  return scaled(units, -even_exponent / 2);
}

}  // namespace dejavm::soft
