// Model-specific registers, the time stamp, random numbers and CPUID (AMD64 APM volume 2, appendix A; volume 3).
#pragma once

#include <cstdint>

#include "engine/soft/core.h"
#include "engine/soft/instruction.h"

namespace dejavm::soft {

void read_model_register(Core& core, const Instruction& insn);   ///< RDMSR
void write_model_register(Core& core, const Instruction& insn);  ///< WRMSR
void read_time_stamp(Core& core, const Instruction& insn);       ///< RDTSC
void read_time_stamp_and_processor(Core& core, const Instruction& insn);
void read_performance_counter(Core& core, const Instruction& insn);
/// RDRAND, RDSEED: a fixed hash of the step count, always available.
void read_random(Core& core, const Instruction& insn);
/// RDTSCP, RDRAND and RDSEED where CPUID hides them: #UD.
[[noreturn]] void refuse_untrapped(Core& core, const Instruction& insn);
void identify(Core& core, const Instruction& insn);  ///< CPUID

/// The leaf that CPUID answers with, as KVM finds it: zeros for a leaf that the table does not have; on a CPU that is not
/// AMD's, a function out of range gives the highest basic one.
vm::CpuidLeaf cpuid_answer(const vm::CpuModel& model, uint32_t function, uint32_t index);

}  // namespace dejavm::soft
