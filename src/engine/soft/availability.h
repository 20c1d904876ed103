// Whether the guest's CPU has an instruction.
#pragma once

#include <Zydis/Zydis.h>

#include "engine/soft/features.h"

namespace dejavm::soft {

/// False: the instruction is #UD on a CPU with these features. True says nothing about whether the engine has it.
bool is_available(const ZydisDecodedInstruction& insn, const Features& features);

}  // namespace dejavm::soft
