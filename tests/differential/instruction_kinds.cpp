#include "instruction_kinds.h"

namespace dejavm::differential {

bool is_cmps(const RandomInstruction& random) {
  switch (random.insn.mnemonic) {
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD:
    case ZYDIS_MNEMONIC_CMPSQ:
      return random.insn.meta.category == ZYDIS_CATEGORY_STRINGOP;
    default:
      return false;
  }
}

bool repeats(const RandomInstruction& random) {
  return random.insn.meta.category == ZYDIS_CATEGORY_STRINGOP && (random.has_prefix(0xf2) || random.has_prefix(0xf3));
}

bool is_prefixed_loop(const RandomInstruction& random) {
  bool conditional = random.insn.mnemonic == ZYDIS_MNEMONIC_LOOPE || random.insn.mnemonic == ZYDIS_MNEMONIC_LOOPNE;
  return conditional && (random.has_prefix(0xf2) || random.has_prefix(0xf3));
}

bool moves_all(const RandomInstruction& random) {
  switch (random.insn.mnemonic) {
    case ZYDIS_MNEMONIC_PUSHA:
    case ZYDIS_MNEMONIC_PUSHAD:
    case ZYDIS_MNEMONIC_POPA:
    case ZYDIS_MNEMONIC_POPAD:
      return true;
    default:
      return false;
  }
}

bool moves_environment(const RandomInstruction& random) {
  switch (random.insn.mnemonic) {
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FRSTOR:
      return true;
    default:
      return false;
  }
}

bool moves_segment_with_rex_r(const RandomInstruction& random) {
  return random.insn.mnemonic == ZYDIS_MNEMONIC_MOV && random.has_register(ZYDIS_REGCLASS_SEGMENT) &&
         random.insn.raw.rex.R != 0;
}

}  // namespace dejavm::differential
