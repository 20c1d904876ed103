// DAA, DAS, AAA, AAS, AAM, AAD, SALC: not in 64-bit mode (AMD64 APM volume 3); what is undefined by undefined_flags.h.
#include "engine/soft/arithmetic.h"
#include "engine/soft/integer_rooms.h"
#include "engine/soft/operands.h"
#include "engine/soft/undefined_flags.h"

namespace dejavm::soft {
namespace {

void write_al(Core& core, uint8_t value) { write_register<uint8_t>(core, vm::rax, value); }

/// DAA and DAS: AL holds two decimal digits.
template <bool after_subtraction>
void adjust_packed(Core& core, const Instruction&) {
  uint8_t al = read_register<uint8_t>(core, vm::rax);
  bool low = (al & 15) > 9 || (core.cpu.rflags & kAf) != 0;
  bool high = al > 0x99 || (core.cpu.rflags & kCf) != 0;
  uint8_t correction = static_cast<uint8_t>((low ? 6 : 0) + (high ? 0x60 : 0));
  Outcome<uint8_t> result = after_subtraction ? subtract(al, correction) : add(al, correction);
  bool borrowed = after_subtraction && low && al < 6;
  write_al(core, result.value);
  uint64_t others = core.features.tcg ? result.flags & ~(kAf | kCf | kOf) : result.flags & ~(kAf | kCf);
  set_flags(core, others | (low ? kAf : 0) | (high || borrowed ? kCf : 0));
}

/// AAA and AAS: AL holds one decimal digit.
template <bool after_subtraction>
void adjust_unpacked(Core& core, const Instruction&) {
  uint16_t ax = read_register<uint16_t>(core, vm::rax);
  bool adjust = (ax & 15) > 9 || (core.cpu.rflags & kAf) != 0;
  uint16_t correction = adjust ? 0x106 : 0;
  Outcome<uint16_t> result = after_subtraction ? subtract(ax, correction) : add(ax, correction);
  write_register<uint16_t>(core, vm::rax, result.value & 0xff0f);
  uint64_t changed = core.features.tcg ? kAf | kCf : kStatusFlags;
  set_flags(core, (result.flags & ~(kAf | kCf)) | (adjust ? kAf | kCf : 0), changed);
}

void adjust_after_multiply(Core& core, const Instruction& insn) {
  uint8_t base = static_cast<uint8_t>(insn.immediate);
  if (base == 0) raise(kDivideError);
  uint8_t al = read_register<uint8_t>(core, vm::rax);
  uint8_t quotient = al / base, remainder = al % base;
  write_register<uint16_t>(core, vm::rax, static_cast<uint16_t>(quotient << 8 | remainder));
  set_flags(core, result_flags(remainder));
}

void adjust_before_divide(Core& core, const Instruction& insn) {
  uint16_t ax = read_register<uint16_t>(core, vm::rax);
  uint8_t tens = static_cast<uint8_t>((ax >> 8) * static_cast<uint8_t>(insn.immediate));
  Outcome<uint8_t> sum = add(static_cast<uint8_t>(ax), tens);
  write_register<uint16_t>(core, vm::rax, sum.value);
  set_flags(core, core.features.tcg ? result_flags(sum.value) : sum.flags);
}

void set_al_from_carry(Core& core, const Instruction&) { write_al(core, (core.cpu.rflags & kCf) != 0 ? 0xff : 0); }

}  // namespace

bool bind_decimal(const Decoded& decoded, Instruction& insn) {
  switch (decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_DAA:
      insn.run = adjust_packed<false>;
      return true;
    case ZYDIS_MNEMONIC_DAS:
      insn.run = adjust_packed<true>;
      return true;
    case ZYDIS_MNEMONIC_AAA:
      insn.run = adjust_unpacked<false>;
      return true;
    case ZYDIS_MNEMONIC_AAS:
      insn.run = adjust_unpacked<true>;
      return true;
    case ZYDIS_MNEMONIC_AAM:
      insn.run = adjust_after_multiply;
      return true;
    case ZYDIS_MNEMONIC_AAD:
      insn.run = adjust_before_divide;
      return true;
    case ZYDIS_MNEMONIC_SALC:
      insn.run = set_al_from_carry;
      return true;
    default:
      return false;
  }
}

}  // namespace dejavm::soft
