// Control and debug registers (AMD64 APM volume 2, sections 3.1 and 13.1). What is reserved or inconsistent is #GP, as KVM
// does it.
#pragma once

#include <cstdint>

#include "engine/soft/core.h"
#include "engine/soft/instruction.h"

namespace dejavm::soft {

inline constexpr uint64_t kCr4TimeStampDisable = 1u << 2, kCr4Umip = 1u << 11, kCr4FsGsBase = 1u << 16;

/// CR3 with its checks (reserved bits, the PDPTEs of legacy PAE paging), and the flush.
void load_cr3(Core& core, uint64_t value);
/// CR0 with its checks; LMA follows PG.
void load_cr0(Core& core, uint64_t value);

// Handlers. `other` is the number of the control or debug register, `reg` the general register.
void move_to_control(Core& core, const Instruction& insn);
void move_from_control(Core& core, const Instruction& insn);
void move_to_debug(Core& core, const Instruction& insn);
void move_from_debug(Core& core, const Instruction& insn);
void load_machine_status(Core& core, const Instruction& insn);  ///< LMSW
void clear_task_switched(Core& core, const Instruction& insn);

}  // namespace dejavm::soft
