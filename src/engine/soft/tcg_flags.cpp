#include "engine/soft/tcg_flags.h"

#include <bit>

namespace dejavm::soft {
namespace {

LazyEffect with_width(LazyEffect first, unsigned bits) {
  return static_cast<LazyEffect>(static_cast<unsigned>(first) + static_cast<unsigned>(std::countr_zero(bits / 8)));
}

/// Jcc ends a block; SETcc, CMOVcc and FCMOVcc compute of the flags what they want.
LazyEffect of_condition(unsigned condition) {
  switch (condition >> 1) {
    case 0:  // O
    case 5:  // P
      return LazyEffect::forgets;
    case 3:  // BE
    case 6:  // L
    case 7:  // LE
      return LazyEffect::forgets_result;
    default:
      return LazyEffect::keeps;
  }
}

LazyEffect of_shift(const ZydisDecodedInstruction& insn, const ZydisDecodedOperand* operands) {
  const ZydisDecodedOperand& count = operands[1];
  if (count.type != ZYDIS_OPERAND_TYPE_IMMEDIATE) return LazyEffect::forgets;
  bool nothing = (count.imm.value.u & (operands[0].size == 64 ? 63 : 31)) == 0;
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
      return LazyEffect::forgets;
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
      return nothing ? LazyEffect::keeps : LazyEffect::forgets;
    default:
      return nothing ? LazyEffect::keeps : with_width(LazyEffect::sets, operands[0].size);
  }
}

bool is_same_register(const ZydisDecodedOperand* operands) {
  return operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER && operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
         operands[0].reg.value == operands[1].reg.value;
}

ZydisRegister register_of(const ZydisDecodedOperand& operand) {
  return operand.type == ZYDIS_OPERAND_TYPE_REGISTER ? operand.reg.value : ZYDIS_REGISTER_NONE;
}

/// MOV and POP. Those of 16-bit code that end no block are taken for such that do. Of the control registers KVM lets the
/// guest read all but CR4 and CR8.
LazyEffect of_move(const ZydisDecodedInstruction& insn, const ZydisDecodedOperand* operands) {
  ZydisRegister target = register_of(operands[0]);
  ZydisRegister source = insn.mnemonic == ZYDIS_MNEMONIC_MOV ? register_of(operands[1]) : ZYDIS_REGISTER_NONE;
  ZydisRegisterClass kind = ZydisRegisterGetClass(target);
  bool special = kind == ZYDIS_REGCLASS_CONTROL || kind == ZYDIS_REGCLASS_DEBUG ||
                 ZydisRegisterGetClass(source) == ZYDIS_REGCLASS_DEBUG || source == ZYDIS_REGISTER_CR4 ||
                 source == ZYDIS_REGISTER_CR8;
  bool segment = kind == ZYDIS_REGCLASS_SEGMENT && target != ZYDIS_REGISTER_FS && target != ZYDIS_REGISTER_GS;
  return special || segment ? LazyEffect::forgets : LazyEffect::keeps;
}

bool repeats(const ZydisDecodedInstruction& insn) {
  return (insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
}

/// Of a category whose instructions are all alike.
LazyEffect of_category(const ZydisDecodedInstruction& insn) {
  switch (insn.meta.category) {
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_IO:
    case ZYDIS_CATEGORY_IOSTRINGOP:
    case ZYDIS_CATEGORY_DECIMAL:
      return LazyEffect::forgets;
    case ZYDIS_CATEGORY_STRINGOP:
      return repeats(insn) ? LazyEffect::forgets : LazyEffect::keeps;
    case ZYDIS_CATEGORY_SETCC:
    case ZYDIS_CATEGORY_CMOV:
      return of_condition(insn.opcode & 15);
    default:
      return LazyEffect::keeps;
  }
}

}  // namespace

LazyEffect lazy_effect(const ZydisDecodedInstruction& insn, const ZydisDecodedOperand* operands) {
  unsigned width = operands[0].size;
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_XOR:
      return is_same_register(operands) ? LazyEffect::forgets : with_width(LazyEffect::sets, width);
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_SBB:
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_XADD:
    case ZYDIS_MNEMONIC_MUL:
    case ZYDIS_MNEMONIC_IMUL:
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
    case ZYDIS_MNEMONIC_TZCNT:
    case ZYDIS_MNEMONIC_LZCNT:
      return with_width(LazyEffect::sets, width);
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_NEG:
    case ZYDIS_MNEMONIC_CMPXCHG:
      return with_width(LazyEffect::subtracts, width);
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD:
    case ZYDIS_MNEMONIC_CMPSQ:
    case ZYDIS_MNEMONIC_SCASB:
    case ZYDIS_MNEMONIC_SCASW:
    case ZYDIS_MNEMONIC_SCASD:
    case ZYDIS_MNEMONIC_SCASQ:
      if (insn.meta.category != ZYDIS_CATEGORY_STRINGOP) return LazyEffect::keeps;  // CMPSD of SSE2
      return repeats(insn) ? LazyEffect::forgets : with_width(LazyEffect::subtracts, width);
    case ZYDIS_MNEMONIC_AAM:
    case ZYDIS_MNEMONIC_AAD:
      return with_width(LazyEffect::sets, 8);
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
      return of_shift(insn, operands);
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
      return LazyEffect::tests_bit;
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_POP:
      return of_move(insn, operands);
    case ZYDIS_MNEMONIC_FCMOVU:
    case ZYDIS_MNEMONIC_FCMOVNU:
      return LazyEffect::forgets;
    case ZYDIS_MNEMONIC_FCMOVBE:
    case ZYDIS_MNEMONIC_FCMOVNBE:
      return LazyEffect::forgets_result;
    // Flags that come whole.
    case ZYDIS_MNEMONIC_CLC:
    case ZYDIS_MNEMONIC_STC:
    case ZYDIS_MNEMONIC_CMC:
    case ZYDIS_MNEMONIC_LAHF:
    case ZYDIS_MNEMONIC_SAHF:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
    case ZYDIS_MNEMONIC_POPCNT:
    case ZYDIS_MNEMONIC_CMPXCHG8B:
    case ZYDIS_MNEMONIC_CMPXCHG16B:
    case ZYDIS_MNEMONIC_COMISS:
    case ZYDIS_MNEMONIC_COMISD:
    case ZYDIS_MNEMONIC_UCOMISS:
    case ZYDIS_MNEMONIC_UCOMISD:
    case ZYDIS_MNEMONIC_FCOMI:
    case ZYDIS_MNEMONIC_FCOMIP:
    case ZYDIS_MNEMONIC_FUCOMI:
    case ZYDIS_MNEMONIC_FUCOMIP:
    case ZYDIS_MNEMONIC_PTEST:
    case ZYDIS_MNEMONIC_PCMPESTRI:
    case ZYDIS_MNEMONIC_PCMPESTRM:
    case ZYDIS_MNEMONIC_PCMPISTRI:
    case ZYDIS_MNEMONIC_PCMPISTRM:
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
    case ZYDIS_MNEMONIC_ARPL:
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED:
    // The end of a block.
    case ZYDIS_MNEMONIC_LDS:
    case ZYDIS_MNEMONIC_LES:
    case ZYDIS_MNEMONIC_LSS:
    case ZYDIS_MNEMONIC_STI:
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_CLAC:
    case ZYDIS_MNEMONIC_STAC:
    case ZYDIS_MNEMONIC_LMSW:
    case ZYDIS_MNEMONIC_CLTS:
    case ZYDIS_MNEMONIC_INVLPG:
    case ZYDIS_MNEMONIC_WRMSR:
    case ZYDIS_MNEMONIC_PAUSE:
    // An exit that KVM takes for itself.
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_HLT:
    case ZYDIS_MNEMONIC_INVD:
    case ZYDIS_MNEMONIC_WBINVD:
    case ZYDIS_MNEMONIC_RDPMC:
      return LazyEffect::forgets;
    default:
      return of_category(insn);
  }
}

bool has_other_result(const ZydisDecodedInstruction& insn) {
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
      return true;
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
    case ZYDIS_MNEMONIC_BSWAP:
      return insn.operand_width == 16;
    case ZYDIS_MNEMONIC_CMPXCHG:
      return (insn.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0;
    default:
      return false;
  }
}

}  // namespace dejavm::soft
