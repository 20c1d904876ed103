// Which instructions make sense to run on KVM and on soft.
#pragma once

#include "random_instruction.h"

namespace dejavm::differential {

/// False: an answer that may differ, or a state that no later comparison would survive.
bool comparable(const RandomInstruction& random, Mode mode);

/// kvm.ko's emulator runs little of it: most is drawn for user64 only.
bool is_vector_or_x87(const ZydisDecodedInstruction& insn);

}  // namespace dejavm::differential
