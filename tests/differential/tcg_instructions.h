// Kinds of instructions by what QEMU's TCG (version 7.2) does other than soft's model of it (tcg_differences.h).
#pragma once

#include "random_instruction.h"

namespace dejavm::differential {

/// TCG takes the bytes for another instruction, or for none; no compiler emits them.
bool tcg_misreads(const RandomInstruction& random);

/// What it leaves differs so that what others do with it would, too: it runs alone.
bool hides_others_on_tcg(const RandomInstruction& random);

/// The status flags that KVM may have had otherwise than soft in front of an instruction. No reason: none.
struct OtherFlags {
  const char* reason = nullptr;
  uint64_t flags = 0;
  bool none = false;  ///< behind it RFLAGS may hold anything
};
OtherFlags other_flags_before(const RandomInstruction& random);

/// LDMXCSR and FXRSTOR.
bool loads_mxcsr(const RandomInstruction& random);

/// ADC, SETcc and others, which read the flags of before.
bool needs_flags(const RandomInstruction& random);
bool tests_bit(const RandomInstruction& random);
/// Null is none.
bool is_x87(const RandomInstruction* random);
/// Its first operand, to memory.
bool stores(const RandomInstruction& random);
bool is_wide_exchange(const RandomInstruction& random);
/// SHLD and SHRD by a constant, of memory relative to RIP.
bool is_relative_double_shift(const RandomInstruction& random);
bool is_minimum_or_maximum(const RandomInstruction& random);
bool pushes_segment(const RandomInstruction& random);
/// MOV to memory, with REX.W.
bool stores_selector(const RandomInstruction& random);
/// ENTER with 0x66.
bool enters_with_prefix(const RandomInstruction& random);
bool is_locked_exchange_of_32_bits(const RandomInstruction& random);
bool is_partial_remainder(const RandomInstruction& random);
/// RET that drops 0x8000 bytes and more.
bool returns_far_up(const RandomInstruction& random);

}  // namespace dejavm::differential
