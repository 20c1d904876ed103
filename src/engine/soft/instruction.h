// A decoded instruction, ready to run: which handler, and its operands as numbers.
#pragma once

#include <cstdint>

#include "engine/soft/native_code.h"
#include "engine/soft/tcg_flags.h"
#include "vm/cpu_state.h"

namespace dejavm::soft {

class Core;
struct Instruction;

/// Executes one instruction (of a REP string instruction: iterations, see string_ops.h). cpu.rip is its address and
/// Core::next_rip the address behind it, which a branch changes. A handler makes all its memory accesses that can fault or
/// leave before it changes registers, flags or RAM, unless the instruction is `transactional`.
using Handler = void (*)(Core& core, const Instruction& insn);

/// Register numbers of operands: 0-15 as encoded; kHighByte + n is AH, CH, DH, BH (n = 0..3); kNoRegister: none.
inline constexpr uint8_t kHighByte = 16;
inline constexpr uint8_t kNoRegister = 0xff;
/// As a memory operand's base: the address of the next instruction (RIP-relative).
inline constexpr uint8_t kRipBase = 0xfe;

enum class Repeat : uint8_t { none, rep, repne };  // `rep` is also REPE

struct Instruction {
  Handler run = nullptr;
  int64_t displacement = 0;  ///< of the memory operand
  uint64_t immediate = 0;    ///< sign-extended to 64 bits where the instruction does; a branch's distance; a far offset
  NativeCode native = nullptr;
  uint16_t mnemonic = 0;  ///< ZydisMnemonic
  uint16_t selector = 0;  ///< of a far pointer in the code; second immediate of ENTER
  uint8_t length = 0;
  uint8_t operand_size = 0;  ///< bytes: 1, 2, 4, 8; of the operation (not of a 16-byte vector)
  uint8_t address_size = 0;  ///< bytes: 2, 4, 8
  uint8_t memory_size = 0;   ///< bytes of the memory operand; 0: none, or by the instruction (FXSAVE)
  bool has_memory = false;   ///< an operand that is spelt is memory; string instructions and XLAT have `segment` only
  bool memory_is_destination = false;  ///< it is written, or it is the first of several operands (CMP, TEST, BT)
  uint8_t segment = vm::ds;            ///< SegmentName of the memory operand, override applied
  uint8_t base = kNoRegister;
  uint8_t index = kNoRegister;
  uint8_t scale = 0;            ///< log2
  uint8_t reg = kNoRegister;    ///< the register that is the destination, or the only one
  uint8_t other = kNoRegister;  ///< the second register operand (with has_memory: see the room's page)
  uint8_t condition = 0;        ///< 0-15 as in Jcc's opcode
  Repeat repeat = Repeat::none;
  bool lock = false;
  bool has_immediate = false;  ///< the last explicit operand is `immediate`
  bool ends_block = false;  ///< branches, and whatever changes how the next instruction is fetched, decoded or interrupted
  /// Core keeps a copy of the CPU's registers around it and puts it back when it faults or leaves.
  bool transactional = false;
  bool rex = false;
  LazyEffect lazy_effect = LazyEffect::keeps;  ///< for CpuKind::tcg
};

}  // namespace dejavm::soft
