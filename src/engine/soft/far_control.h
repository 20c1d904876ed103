// Handlers of transfers between code segments (AMD64 APM volume 2, section 4.11; volume 3). Those that read or
// write memory are transactional.
#pragma once

#include <cstdint>

#include "engine/soft/core.h"
#include "engine/soft/instruction.h"

namespace dejavm::soft {

// far_control.cpp
void far_jump(Core& core, const Instruction& insn);
void far_call(Core& core, const Instruction& insn);
// far_return.cpp
void far_return(Core& core, const Instruction& insn);
void interrupt_return(Core& core, const Instruction& insn);
// fast_call.cpp
void software_interrupt(Core& core, const Instruction& insn);  ///< INT n
void breakpoint_interrupt(Core& core, const Instruction& insn);
void overflow_interrupt(Core& core, const Instruction& insn);
void debug_interrupt(Core& core, const Instruction& insn);  ///< INT1
void system_call(Core& core, const Instruction& insn);
void system_return(Core& core, const Instruction& insn);
void system_enter(Core& core, const Instruction& insn);
void system_exit(Core& core, const Instruction& insn);

/// #GP(0) unless `offset` is one of the code segment: within the limit, or canonical for 64-bit code.
void check_code_offset(const Core& core, uint64_t descriptor, uint64_t offset);

}  // namespace dejavm::soft
