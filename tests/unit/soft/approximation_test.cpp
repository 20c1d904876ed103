#include "engine/soft/approximation.h"

#include <gtest/gtest.h>
#include <xmmintrin.h>

#include <bit>

#include "native_oracle.h"

namespace dejavm::soft {
namespace {

uint32_t host_reciprocal(uint32_t x) {
  return std::bit_cast<uint32_t>(_mm_cvtss_f32(_mm_rcp_ss(_mm_set_ss(std::bit_cast<float>(x)))));
}
uint32_t host_inverse_root(uint32_t x) {
  return std::bit_cast<uint32_t>(_mm_cvtss_f32(_mm_rsqrt_ss(_mm_set_ss(std::bit_cast<float>(x)))));
}

TEST(Approximation, ValuesOfTheModel) {
  EXPECT_EQ(approximate_reciprocal(0x3f800000), 0x3f7ff000u);
  EXPECT_EQ(approximate_reciprocal(0xbf800000), 0xbf7ff000u);
  EXPECT_EQ(approximate_reciprocal(0x7e7fffff), 0x00800000u);
  EXPECT_EQ(approximate_reciprocal(0x7e800000), 0u);
  EXPECT_EQ(approximate_reciprocal(0x80000001), 0xff800000u);
  EXPECT_EQ(approximate_inverse_root(0x3f800000), 0x3f7ff800u);
  EXPECT_EQ(approximate_inverse_root(0x7f000000), 0x1fb50000u);
  EXPECT_EQ(approximate_inverse_root(0xbf800000), 0xffc00000u);
}

// All fractions with exponents of both parities, then all exponents and signs.
TEST(Approximation, AgreesWithAnAmdHost) {
  if (!NativeOracle::host_is_amd()) GTEST_SKIP() << "the host is not an AMD CPU";
  for (uint32_t x = 0x3f800000; x < 0x40800000; x += 0x101) {
    ASSERT_EQ(approximate_reciprocal(x), host_reciprocal(x)) << std::hex << x;
    ASSERT_EQ(approximate_inverse_root(x), host_inverse_root(x)) << std::hex << x;
  }
  for (uint64_t x = 0; x <= 0xffffffff; x += 0x2aaab) {
    ASSERT_EQ(approximate_reciprocal(static_cast<uint32_t>(x)), host_reciprocal(static_cast<uint32_t>(x))) << std::hex << x;
    ASSERT_EQ(approximate_inverse_root(static_cast<uint32_t>(x)), host_inverse_root(static_cast<uint32_t>(x)))
        << std::hex << x;
  }
}

}  // namespace
}  // namespace dejavm::soft
