// From bytes to Instruction. Zydis decodes; each room of instructions says which mnemonics are its own and binds a handler.
#pragma once

#include <Zydis/Zydis.h>

#include "engine/soft/features.h"
#include "engine/soft/instruction.h"

namespace dejavm::soft {

class NativeArena;

/// What a room sees of an instruction that it may bind.
struct Decoded {
  ZydisDecodedInstruction insn{};
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT]{};
  const uint8_t* bytes = nullptr;
  unsigned code_bits = 0;
  const Features& features;

  bool is_register(int operand) const {
    return operand < insn.operand_count_visible && operands[operand].type == ZYDIS_OPERAND_TYPE_REGISTER;
  }
  bool is_memory(int operand) const {
    return operand < insn.operand_count_visible && operands[operand].type == ZYDIS_OPERAND_TYPE_MEMORY;
  }
  bool is_immediate(int operand) const {
    return operand < insn.operand_count_visible && operands[operand].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  }
  /// Bytes of a visible operand.
  unsigned size(int operand) const { return operands[operand].size / 8; }
};

/// Register operand as in Instruction::reg; kNoRegister when it is not a general register.
uint8_t general_register(ZydisRegister reg);

/// A room's binder: false when the mnemonic is not its own. The fields of `insn` that follow from the encoding alone
/// (length, sizes, memory operand, reg and other from the visible register operands in their order, immediate, repeat, lock)
/// are filled in already; the binder sets `run` and mends what its handlers want otherwise.
using Binder = bool (*)(const Decoded& decoded, Instruction& insn);
bool bind_integer(const Decoded& decoded, Instruction& insn);  // integer.cpp, shift.cpp, ...: moves, arithmetic, logic, bits
bool bind_string(const Decoded& decoded, Instruction& insn);   // string_ops.cpp
bool bind_stack(const Decoded& decoded, Instruction& insn);    // stack.cpp: push, pop, pusha, pushf, enter, leave
bool bind_near_control(const Decoded& decoded, Instruction& insn);  // near_control.cpp: jmp, jcc, call, ret, loop
bool bind_far_control(const Decoded& decoded,
                      Instruction& insn);  // far_control.cpp: far jmp/call/ret, int, iret, syscall, sysenter
bool bind_segment(const Decoded& decoded,
                  Instruction& insn);  // segment_ops.cpp: mov/push/pop sreg, lds, lar, lsl, verr, swapgs
bool bind_system(const Decoded& decoded,
                 Instruction& insn);  // system.cpp: cr/dr, msr, cpuid, lgdt, invlpg, hlt, in/out, cli, ...
/// x87, MMX, SSE: executed on the host through a stub in `arena`.
bool bind_native(const Decoded& decoded, NativeArena& arena, Instruction& insn);

/// The Zydis decoder for this CPU: modes in which the same bytes mean something else on CPUs without a feature are set, and
/// branches are AMD's.
const ZydisDecoder& decoder_for(unsigned code_bits, const Features& features);

enum class DecodeStatus : uint8_t {
  ok,
  needs_more,  ///< the bytes end inside the instruction
};

/// Decodes the instruction at the front of `bytes` (1 to 15 of them). What is no instruction, or not one of this CPU,
/// becomes one that raises #UD (or #GP when it is longer than 15 bytes). Throws EngineFailure for an instruction that the
/// CPU model promises and the engine does not have.
DecodeStatus decode(const uint8_t* bytes, size_t size, unsigned code_bits, const Features& features, NativeArena& arena,
                    Instruction& insn);

}  // namespace dejavm::soft
