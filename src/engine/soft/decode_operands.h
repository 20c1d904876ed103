// The part of an Instruction that follows from its encoding alone.
#pragma once

#include "engine/soft/decode.h"
#include "engine/soft/instruction.h"

namespace dejavm::soft {

/// Everything but `run`, `native`, `ends_block` and `transactional`.
Instruction fields_of(const Decoded& decoded);

}  // namespace dejavm::soft
