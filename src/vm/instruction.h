// What one instruction does, as far as recording needs it. Decoding is Zydis's.
#pragma once

#include <optional>
#include <string>

#include "base/bytes.h"
#include "vm/access.h"
#include "vm/address.h"
#include "vm/cpu_state.h"
#include "vm/guest_memory.h"

namespace dejavm::vm {

/// What an engine that steps with the trap flag has to know of an instruction.
enum class StepHazard : uint8_t {
  none,
  pushes_flags,         ///< PUSHF
  system_call,          ///< SYSCALL: saves RFLAGS and masks them
  system_return,        ///< SYSRET: replaces RFLAGS
  software_interrupt,   ///< INT n, INT3
  sets_interrupts,      ///< STI: the next instruction may not be interrupted
  loads_stack_segment,  ///< MOV SS, POP SS, LSS: neither
};

struct InstructionInfo {
  unsigned length = 0;        ///< bytes
  unsigned memory_reads = 0;  ///< explicit or hidden memory operands that are read
  unsigned memory_writes = 0;
  unsigned operand_bytes = 0;  ///< size of one memory operand (the largest)
  bool port_read = false;      ///< IN, INS
  bool port_write = false;     ///< OUT, OUTS
  bool repeated = false;       ///< REP string instruction; it completes with every element, of `operand_bytes`
  StepHazard hazard = StepHazard::none;
  uint8_t vector = 0;      ///< of a software interrupt
  bool may_fault = false;  ///< false: an instruction on registers that cannot raise an exception in any state of the CPU
};

/// Decodes at most 15 bytes as code of 16, 32 or 64 bits; nullopt when they are not an instruction.
std::optional<InstructionInfo> decode_instruction(ByteSpan bytes, unsigned code_bits);

/// Decodes the instruction at a linear address of the guest.
std::optional<InstructionInfo> decode_at(const CpuState& cpu, const GuestMemory& memory, GuestVirt addr);

/// Whether what stands before RIP ends like STI, in a ring that may execute it: the CPU may come from there.
bool follows_sti(const CpuState& cpu, const GuestMemory& memory);

/// Which memory operand (a number of its own) of the instruction the access is to or from, going by the registers before the
/// instruction has moved any; nullopt when none.
std::optional<unsigned> accessed_operand(const CpuState& cpu, const GuestMemory& memory, GuestVirt instruction,
                                         const Access& access);

/// "mov dword ptr [rdi], eax"
std::string disassemble(ByteSpan bytes, unsigned code_bits, GuestVirt addr);

/// Finds the instruction that just made an access when RIP may be past it already (writes on KVM): the instruction at RIP or
/// one that ends at RIP whose operand is the accessed address, going by the registers now. nullopt when none fits.
std::optional<GuestVirt> find_accessing_instruction(const CpuState& cpu, const GuestMemory& memory, const Access& access);

}  // namespace dejavm::vm
