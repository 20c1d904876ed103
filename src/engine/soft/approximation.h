// RCPPS, RCPSS, RSQRTPS and RSQRTSS as the CPU model `amd` computes them: their results differ between CPUs, so the host's
// are not used. Measured on an AMD EPYC of family 25 (Zen 4): the result depends on the upper 12 bits of the fraction,
// whatever MXCSR says, and no exception is signalled.
#pragma once

#include <cstdint>
#include <span>

namespace dejavm::soft {

/// Of one IEEE single, as bits.
uint32_t approximate_reciprocal(uint32_t x);
uint32_t approximate_inverse_root(uint32_t x);

/// What the tables correct: the plain formulas, for the upper 12 bits of the fraction. Results are in units of 2^-13.
inline constexpr unsigned kApproximationEntries = 4096;
int reciprocal_formula(unsigned index);
/// `odd`: of x in [2, 4), else in [1, 2).
int inverse_root_formula(unsigned index, bool odd);

/// Corrections plus 1, two bits an index; made by tests/unit/soft/make_approximation_tables.cpp.
extern const uint64_t kReciprocalCorrections[kApproximationEntries / 32];
extern const uint64_t kInverseRootCorrections[2][kApproximationEntries / 32];

}  // namespace dejavm::soft
