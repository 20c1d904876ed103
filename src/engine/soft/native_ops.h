// What the rooms of x87, MMX and SSE instructions share.
//
// A native instruction uses Instruction's fields so: `reg` and `other` are its first and second vector register, `condition`
// its general register, `selector` bits of NativeUse, `native` its stub, `immediate` of x87 instructions their opcode as the
// x87 keeps it.
#pragma once

#include "engine/soft/core.h"
#include "engine/soft/decode.h"
#include "engine/soft/instruction.h"
#include "engine/soft/native_stub.h"

namespace dejavm::soft {

enum NativeUse : uint16_t {
  kUsesFirst = 1 << 0,
  kUsesSecond = 1 << 1,
  kWritesFirst = 1 << 2,
  kFirstIsMmx = 1 << 3,
  kSecondIsMmx = 1 << 4,
  kUsesGeneral = 1 << 5,
  kWritesGeneral = 1 << 6,
  kUsesZero = 1 << 7,   ///< XMM0, unspelt
  kUsesMxcsr = 1 << 8,  ///< rounds or signals
  kReadsFlags = 1 << 9,
  kWritesFlags = 1 << 10,
  kAlignedMemory = 1 << 11,  ///< #GP unless the operand is aligned to its 16 bytes
  // The type of result of which a tiny one signals underflow; low lane only, or all lanes.
  kSingleResult = 1 << 12,
  kDoubleResult = 1 << 13,
  kScalarResult = 1 << 14,
};
inline constexpr uint16_t kUsesMmx = kFirstIsMmx | kSecondIsMmx;

inline constexpr uint64_t kCr0Mp = 1 << 1, kCr0Em = 1 << 2, kCr0Ts = 1 << 3, kCr0Ne = 1 << 5;
inline constexpr uint64_t kCr4Osfxsr = 1 << 9, kCr4Osxmmexcpt = 1 << 10;
inline constexpr uint16_t kFswErrorSummary = 1 << 7, kFswBusy = 1 << 15, kFswTop = 7 << 11, kX87Exceptions = 0x3f;

/// #UD and #NM before anything else of an SSE, an MMX or an x87 instruction; the latter two also the #MF that an earlier x87
/// instruction left (CR0.NE = 1). With CR0.NE = 0 that exception would be IRQ 13 through FERR#, which this PC does not wire:
/// the instruction goes on as if IGNNE# were asserted.
void require_sse(const Core& core);
void require_mmx(const Core& core);
void require_x87(const Core& core);
void raise_pending_x87(const Core& core);  ///< only that #MF

/// FSW.ES and B from the flags and the masks.
void summarize_exceptions(vm::Fpu& fpu);
/// FLDCW, and FXRSTOR and FLDENV behind the status word: CpuKind::tcg takes every bit, and looks for no exception.
void load_control_word(Core& core, uint16_t value);

/// MMX registers are the low 64 bits of the x87's physical registers; Fpu keeps them relative to the top of the stack.
inline unsigned stack_top(const vm::Fpu& fpu) { return fpu.fsw >> 11 & 7; }
inline uint8_t* physical_register(vm::Fpu& fpu, unsigned number) { return fpu.st[(number - stack_top(fpu)) & 7].data(); }
/// Every MMX instruction makes the stack's top 0 and all its registers valid.
void enter_mmx(vm::Fpu& fpu);
/// After enter_mmx(). The 16 bits above an MMX register become ones (CpuKind::tcg leaves them).
void write_mmx(Core& core, unsigned number, const uint8_t* value);

/// Vector register operand number, of XMM or MMX registers; kNoRegister for others.
uint8_t vector_register(ZydisRegister reg);
bool is_mmx(ZydisRegister reg);

/// The 16 bytes of an operand as the two accesses that they are on the bus when they are in one page.
void read_vector(Core& core, uint64_t linear, void* to, size_t size);
void write_vector(Core& core, uint64_t linear, const void* from, size_t size);

/// Bits that LDMXCSR and FXRSTOR accept (no misaligned-SSE mode), and what FXSAVE says about that.
inline constexpr uint32_t kMxcsrMask = 0xffff;

// The rooms.
bool bind_approximation(const Decoded& decoded, Instruction& insn);               // approximation_ops.cpp
bool bind_packed_compare(const Decoded& decoded, Instruction& insn);              // packed_compare.cpp
bool bind_vector_move(const Decoded& decoded, Instruction& insn);                 // vector_moves.cpp
bool bind_vector(const Decoded& decoded, NativeArena& arena, Instruction& insn);  // vector_ops.cpp
bool bind_x87(const Decoded& decoded, NativeArena& arena, Instruction& insn);     // x87_ops.cpp
bool bind_x87_control(const Decoded& decoded, Instruction& insn);                 // x87_control.cpp
bool bind_fxsave(const Decoded& decoded, Instruction& insn);                      // fxsave.cpp

/// How vector_ops.cpp may run a mnemonic: the NativeUse bits that do not follow from its operands; nullopt: not at all.
std::optional<uint16_t> vector_use(ZydisMnemonic mnemonic);  // vector_table.cpp
/// With CpuKind::tcg: a memory operand of 16 bytes need not be aligned.
bool takes_any_address_on_tcg(ZydisMnemonic mnemonic);  // vector_table.cpp

}  // namespace dejavm::soft
