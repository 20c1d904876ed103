// What CpuKind::tcg, QEMU's TCG (version 7.2), does other than `amd` (undefined_flags.h). Measured by the differential test
// in the lab (tests/lab/kvm_lab.sh), where kvm-amd runs on it.
//
// clang-format off
// | instruction                 | CF       | PF      | AF   | ZF      | SF      | OF                                |
// |-----------------------------|----------|---------|------|---------|---------|-----------------------------------|
// | SHL SHR SAR, any count but 0| last out | defined | 0    | defined | defined | as amd                            |
// | RCL RCR                     | defined  | kept    | kept | kept    | kept    | whether the sign has changed      |
// | SHLD SHRD, any count but 0  | last out | result  | 0    | result  | result  | sign changed by the last shift    |
// | MUL, IMUL (all forms)       | defined  | low     | 0    | low     | low     | defined                           |
// | DIV, IDIV                   | kept     | kept    | kept | kept    | kept    | kept                              |
// | BT BTS BTR BTC              | the bit  | kept    | (1)  | kept    | kept    | (1)                               |
// | BSF, BSR                    | 0        | source  | 0    | source  | source  | 0                                 |
// | LZCNT, TZCNT                | defined  | 0       | 0    | defined | 0       | 0                                 |
// | DAA, DAS                    | defined  | defined | def. | defined | defined | 0                                 |
// | AAA, AAS                    | defined  | kept    | def. | kept    | kept    | kept                              |
// | AAM, AAD                    | 0        | AL      | 0    | AL      | AL      | 0                                 |
// clang-format on
//
// - RCL and RCR by a multiple of the width plus one keep all flags.
// - SHLD and SHRD of 16 bits by more than 16 take from the first operand again; by a constant they take an address relative
//   to RIP for one less than it is.
// - BSF and BSR of 0 with a 32-bit register clear its upper half; so does a locked CMPXCHG of 32 bits with RAX, always.
// - BSWAP of 16 bits does what that of 32 does. CRC32 takes 16 bits with 0x66, in every mode, and 32 without.
// - A read-modify-write reads before it asks whether it may write: a page that is not there faults as a read. So does a
//   locked one, and XCHG, in a QEMU with one CPU, as the lab's is; with more, TCG makes those atomic and they fault as
//   writes.
// - CMPS faults for its second operand first. ENTER does not look whether the new stack pointer may be written to.
// - FXSAVE leaves the last opcode, and what is reserved behind each x87 register, as they were in memory; without
//   CR4.OSFXSR MXCSR and the XMM registers, too. FXRSTOR takes none of them then.
// - No segment has a limit or a type, for data or code, and 64-bit code may return or jump to what is not canonical: it
//   faults there. 0x66 does not cut the target of a relative branch of 64-bit code.
// - F2 and F3 in front of LOOPE and LOOPNE do nothing. A prefetch of a register is #UD. CLFLUSH never faults.
// - A 32-bit PUSH of a segment register clears the upper half of its slot. RET's number of bytes has a sign.
// - MMX instructions leave bits 64 to 79 of the x87 register (MOVDQ2Q clears them) and enter MMX mode before they access
//   memory; CVTPI2PS and CVTPI2PD from memory enter it, too; EMMS leaves the stack's top. Nothing but FWAIT raises #MF.
//   Conversions from and to MMX registers do not ask for CR4.OSFXSR.
// - Some SSE instructions take any address (takes_any_address_on_tcg()); there is no #XM, and no denormal flag; results are
//   flushed to zero also where underflow is unmasked. 16 bytes are stored in two halves, of which the first stays where the
//   second faults. CVTDQ2PD reads 16 bytes, PUNPCKLxx of MMX registers 8. PCMPESTRI and PCMPESTRM have no REX.W.
// - RCPPS, RCPSS, RSQRTPS and RSQRTSS divide.
// - The x87 stack neither underflows nor overflows, C1 tells of no rounding, there is no denormal exception, results are
//   those of masked exceptions, and FCOMI and its kin leave OF, SF and AF. FSQRT of a negative sets C2 and clears C0, C1,
//   C3.
// - The control word is kept as it is loaded. ES and B are set by an instruction that may signal exceptions, where one is
//   unmasked, and cleared only with the whole status word. FNSTENV masks nothing and has zeros beside its words; a store
//   that faults has signalled; FNSAVE and FRSTOR with REX.W have the registers 28 bytes further up.
// - MASKMOVQ and MASKMOVDQU fault for the bytes only that they store.
// - An address that is not canonical is #GP for the stack, too.
// - Interrupts enter also where a REP string instruction has no iterations left, before RIP leaves it.
// - A far transfer (jump, call, return, interrupt) sets no accessed bit of a descriptor. Frames of faults have no RF, but
//   for #UD and #AC, which kvm-amd intercepts and injects. A page walk that faults has set the accessed bits above.
//
// (1) TCG computes flags when somebody wants them, from what the last instruction that set some left, and knows while it
// translates which that was, unless the flags were set before the translation block's start or are computed already. Where
// it knows, BT makes of it a shift of the same width whose operand is the one that BT shifted to the right: AF is 0, and OF
// is the xor of SF with that operand's bit at the top of that width. Else AF and OF are kept. A LazyFlags follows what it
// knows. Its blocks begin behind every branch, at every page, behind instructions that change how the next one is
// translated, and behind every exit to KVM. A page that KVM itself maps at an access ends a block where nothing in the guest
// tells: AF and OF of a BT behind it, of flags set before it, may then differ.
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>

namespace dejavm::soft {

/// What TCG knows of the flags: nothing (0), or the width of the result that they come from and whether it is a difference.
using LazyFlags = uint8_t;
inline constexpr LazyFlags kLazyUnknown = 0;
/// log2 of the bytes, where something is known.
constexpr unsigned lazy_width(LazyFlags flags) { return (flags - 1u) % 4; }

/// What an instruction does to it (Instruction::lazy_effect).
enum class LazyEffect : uint8_t {
  keeps,
  forgets,
  forgets_result,  ///< but not a difference: conditions that are computed from one directly
  tests_bit,
  sets,                  ///< and the three behind it: a result of 1, 2, 4, 8 bytes
  subtracts = sets + 4,  ///< and the three behind it: a difference
};
LazyEffect lazy_effect(const ZydisDecodedInstruction& insn, const ZydisDecodedOperand* operands);

constexpr LazyFlags after(LazyEffect effect, LazyFlags flags) {
  constexpr LazyFlags kResult = 1, kDifference = 5;
  switch (effect) {
    case LazyEffect::keeps:
      return flags;
    case LazyEffect::forgets:
      return kLazyUnknown;
    case LazyEffect::forgets_result:
      return flags >= kDifference ? flags : kLazyUnknown;
    case LazyEffect::tests_bit:
      return flags == kLazyUnknown ? flags : static_cast<LazyFlags>(kResult + lazy_width(flags));
    default:
      break;
  }
  // The widths of both follow each other as those of the effects do.
  return static_cast<LazyFlags>(kResult + (static_cast<unsigned>(effect) - static_cast<unsigned>(LazyEffect::sets)));
}

/// Whether host code of `amd` gives another result than TCG, not only other flags.
bool has_other_result(const ZydisDecodedInstruction& insn);

}  // namespace dejavm::soft
