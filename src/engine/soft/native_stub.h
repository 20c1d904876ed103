// Stubs: one guest instruction with the loads and stores around it, as host code.
//
// A stub is `void stub(NativeFrame*)`. It knows no guest state but the frame: the guest's registers are put there first and
// taken from there afterwards, by C++. So a stub depends on the instruction's opcode and the shape of its operands only, and
// most stubs serve many instructions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/soft/decode.h"
#include "engine/soft/native_code.h"

namespace dejavm::soft {

/// What a stub reads and writes. SSE and MMX registers by their part in the instruction, not by their number.
struct NativeFrame {
  alignas(16) uint8_t memory[16];  ///< the memory operand
  alignas(16) uint8_t first[16];   ///< the first vector register operand; of MMX registers the first 8 bytes
  alignas(16) uint8_t second[16];
  alignas(16) uint8_t zero[16];  ///< XMM0, of instructions that use it unspelt
  uint64_t general;              ///< the general register operand
  uint64_t flags;                ///< status flags
  uint32_t mxcsr;                ///< in: the guest's, all exceptions masked; out: with what the instruction signalled
  uint32_t host_mxcsr;
  uint16_t host_fcw;
  alignas(16) uint8_t image[512];  ///< x87: FXSAVE's layout, in and out
};

/// No stub is longer.
inline constexpr size_t kMaxStubSize = 160;

/// Makes the stub of an SSE or MMX instruction that the caller knows to be safe and to have at most two vector registers,
/// one general register and one memory operand of at most 16 bytes. `use`: NativeUse bits. Null when it cannot be encoded
/// so.
NativeCode make_vector_stub(const Decoded& decoded, uint16_t use, NativeArena& arena);
/// The same for an x87 instruction; `use`: kReadsFlags and kWritesFlags count.
NativeCode make_x87_stub(const Decoded& decoded, uint16_t use, NativeArena& arena);

}  // namespace dejavm::soft
