// Writes src/engine/soft/approximation_tables.cpp from what the host's RCPSS and RSQRTSS give. Run it on the CPU that the
// model is to follow:
//   cmake --build BUILD --target make_approximation_tables && BUILD/tests/unit/soft/make_approximation_tables > FILE
#include <fmt/format.h>
#include <xmmintrin.h>

#include <bit>
#include <cstdio>

#include "base/check.h"
#include "engine/soft/approximation.h"

namespace {

using namespace dejavm::soft;

float reciprocal(float x) { return _mm_cvtss_f32(_mm_rcp_ss(_mm_set_ss(x))); }
float inverse_root(float x) { return _mm_cvtss_f32(_mm_rsqrt_ss(_mm_set_ss(x))); }

float operand(unsigned index, bool odd) { return std::bit_cast<float>((odd ? 0x40000000 : 0x3f800000) | index << 11); }

/// Exact: 8192 * result is an integer.
int units(float result) { return static_cast<int>(result * 8192); }

template <typename Correction>
void print_table(Correction correction) {
  for (unsigned word = 0; word < kApproximationEntries / 32; ++word) {
    uint64_t bits = 0;
    for (unsigned i = 0; i < 32; ++i) {
      int value = correction(word * 32 + i);
      CHECK(value >= -1 && value <= 2);
      bits |= static_cast<uint64_t>(value + 1) << 2 * i;
    }
    fmt::print("{}0x{:016x},", word % 5 == 0 ? "\n    " : " ", bits);
  }
}

}  // namespace

int main() {
  fmt::print(
      "// Made by tests/unit/soft/make_approximation_tables.cpp on an AMD EPYC of family 25. Not for editing.\n"
      "#include \"engine/soft/approximation.h\"\n\nnamespace dejavm::soft {{\n\n// clang-format off\n"
      "const uint64_t kReciprocalCorrections[kApproximationEntries / 32] = {{");
  print_table([](unsigned i) { return units(reciprocal(operand(i, false))) - reciprocal_formula(i); });
  fmt::print("}};\n\nconst uint64_t kInverseRootCorrections[2][kApproximationEntries / 32] = {{");
  for (bool odd : {false, true}) {
    fmt::print("\n   {{");
    print_table([odd](unsigned i) { return units(inverse_root(operand(i, odd))) - inverse_root_formula(i, odd); });
    fmt::print("}},");
  }
  fmt::print("\n}};\n// clang-format on\n\n}}  // namespace dejavm::soft\n");
}
