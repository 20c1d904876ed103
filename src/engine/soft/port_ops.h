// The I/O port space: who may access a port, and the access itself (AMD64 APM volume 2, section 12.2.4). IN and OUT are
// handlers of system.cpp; INS and OUTS are in string_ops.cpp.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/soft/core.h"
#include "engine/soft/instruction.h"

namespace dejavm::soft {

/// #GP(0) unless the program may access `size` bytes (1, 2, 4) of ports from `port`: CPL <= IOPL, or the TSS's I/O
/// permission bitmap allows it; virtual-8086 code always asks the bitmap. Reads the TSS, so it may fault and leave.
void check_port(Core& core, uint16_t port, unsigned size);

/// The access itself, without the check; leaves for its answer on the first attempt.
uint64_t read_port(Core& core, uint16_t port, unsigned size);
void write_port(Core& core, uint16_t port, unsigned size, uint64_t value);

/// The access that this IN or OUT leaves for on its first attempt, after the check; nothing on later ones.
std::optional<vm::Access> port_access(Core& core, const Instruction& insn);

void in_immediate(Core& core, const Instruction& insn);
void in_dx(Core& core, const Instruction& insn);
void out_immediate(Core& core, const Instruction& insn);
void out_dx(Core& core, const Instruction& insn);

}  // namespace dejavm::soft
