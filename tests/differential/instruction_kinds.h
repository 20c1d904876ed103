// Kinds of instructions, and exceptions, that more than one list of differences names.
#pragma once

#include <cstdint>

#include "random_instruction.h"

namespace dejavm::differential {

inline constexpr uint8_t kInvalidOpcode = 6, kStackFault = 12, kGeneralProtection = 13, kPageFault = 14;

bool is_cmps(const RandomInstruction& random);
/// A string instruction with F2 or F3.
bool repeats(const RandomInstruction& random);
/// LOOPE or LOOPNE with F2 or F3.
bool is_prefixed_loop(const RandomInstruction& random);
/// PUSHA, POPA.
bool moves_all(const RandomInstruction& random);
/// FNSTENV, FNSAVE, FLDENV, FRSTOR.
bool moves_environment(const RandomInstruction& random);
bool moves_segment_with_rex_r(const RandomInstruction& random);

}  // namespace dejavm::differential
