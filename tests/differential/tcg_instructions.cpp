#include "tcg_instructions.h"

#include "instruction_kinds.h"

namespace dejavm::differential {
namespace {

bool is_rex(uint8_t byte) { return (byte & 0xf0) == 0x40; }

/// translate.c, disas_insn(): the bits of a REX stay also where another prefix follows it.
bool has_early_rex(const ZydisDecodedInstruction& insn) {
  if (insn.machine_mode != ZYDIS_MACHINE_MODE_LONG_64) return false;
  for (unsigned i = 0; i + 1 < insn.raw.prefix_count; ++i) {
    if (is_rex(insn.raw.prefixes[i].value)) return true;
  }
  return false;
}

/// decode-new.c.inc, decode_op(): the bits of a REX go into the numbers of MMX registers.
bool has_mmx_register_beyond_seven(const RandomInstruction& random) {
  const auto& rex = random.insn.raw.rex;
  for (unsigned i = 0; i < random.insn.operand_count; ++i) {
    const ZydisDecodedOperand& operand = random.operands[i];
    bool mmx = operand.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_MMX;
    if (mmx && operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG && rex.R != 0) return true;
    if (mmx && operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM && rex.B != 0) return true;
  }
  return false;
}

/// translate.c, disas_insn(): #UD for the second spelling of TEST (F6 and F7 with 1 in ModRM.reg), after its operand is
/// read, and for a prefetch of a register (0F 0D).
bool has_undefined_spelling(const ZydisDecodedInstruction& insn) {
  bool test = insn.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (insn.opcode & 0xfe) == 0xf6 && insn.raw.modrm.reg == 1;
  bool prefetch = insn.opcode_map == ZYDIS_OPCODE_MAP_0F && insn.opcode == 0x0d && insn.raw.modrm.mod == 3;
  return test || prefetch;
}

/// KVM cannot hide from a guest what the CPU has, and the CPU model has no 3DNow!.
bool is_3dnow(const ZydisDecodedInstruction& insn) {
  return insn.opcode_map == ZYDIS_OPCODE_MAP_0F0F || insn.mnemonic == ZYDIS_MNEMONIC_FEMMS;
}

/// KVM goes on for ever with a guest whose next instruction then faults on its way to a device.
bool loads_stack_segment(const RandomInstruction& random) {
  const ZydisDecodedOperand& target = random.operands[0];
  bool loads = target.type == ZYDIS_OPERAND_TYPE_REGISTER && target.reg.value == ZYDIS_REGISTER_SS;
  return random.insn.mnemonic == ZYDIS_MNEMONIC_LSS || (loads && random.insn.mnemonic != ZYDIS_MNEMONIC_PUSH);
}

}  // namespace

bool tcg_misreads(const RandomInstruction& random) {
  const ZydisDecodedInstruction& insn = random.insn;
  return has_early_rex(insn) || has_mmx_register_beyond_seven(random) || has_undefined_spelling(insn) || is_3dnow(insn);
}

bool loads_mxcsr(const RandomInstruction& random) {
  return random.insn.mnemonic == ZYDIS_MNEMONIC_LDMXCSR || random.insn.mnemonic == ZYDIS_MNEMONIC_FXRSTOR ||
         random.insn.mnemonic == ZYDIS_MNEMONIC_FXRSTOR64;
}

bool needs_flags(const RandomInstruction& random) {
  switch (random.insn.mnemonic) {
    case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_SBB:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ:
      return true;
    default:
      return random.insn.meta.category == ZYDIS_CATEGORY_SETCC || random.insn.meta.category == ZYDIS_CATEGORY_CMOV;
  }
}

bool tests_bit(const RandomInstruction& random) { return random.insn.meta.category == ZYDIS_CATEGORY_BITBYTE; }

bool is_x87(const RandomInstruction* random) {
  return random != nullptr && random->insn.meta.category == ZYDIS_CATEGORY_X87_ALU;
}

bool stores(const RandomInstruction& random) {
  const ZydisDecodedOperand& target = random.operands[0];
  return target.type == ZYDIS_OPERAND_TYPE_MEMORY && (target.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
}

bool is_wide_exchange(const RandomInstruction& random) { return random.insn.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B; }

bool is_relative_double_shift(const RandomInstruction& random) {
  bool shifts = random.insn.mnemonic == ZYDIS_MNEMONIC_SHLD || random.insn.mnemonic == ZYDIS_MNEMONIC_SHRD;
  return shifts && random.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
         random.operands[2].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
         (random.operands[0].mem.base == ZYDIS_REGISTER_RIP || random.operands[0].mem.base == ZYDIS_REGISTER_EIP);
}

bool is_minimum_or_maximum(const RandomInstruction& random) {
  switch (random.insn.mnemonic) {
    case ZYDIS_MNEMONIC_MINPS:
    case ZYDIS_MNEMONIC_MINSS:
    case ZYDIS_MNEMONIC_MINPD:
    case ZYDIS_MNEMONIC_MINSD:
    case ZYDIS_MNEMONIC_MAXPS:
    case ZYDIS_MNEMONIC_MAXSS:
    case ZYDIS_MNEMONIC_MAXPD:
    case ZYDIS_MNEMONIC_MAXSD:
      return true;
    default:
      return false;
  }
}

bool pushes_segment(const RandomInstruction& random) {
  return random.insn.mnemonic == ZYDIS_MNEMONIC_PUSH && random.has_register(ZYDIS_REGCLASS_SEGMENT);
}

bool stores_selector(const RandomInstruction& random) {
  return random.insn.mnemonic == ZYDIS_MNEMONIC_MOV && random.insn.raw.rex.W != 0 && stores(random) &&
         random.has_register(ZYDIS_REGCLASS_SEGMENT);
}

bool enters_with_prefix(const RandomInstruction& random) {
  return random.insn.mnemonic == ZYDIS_MNEMONIC_ENTER && random.has_prefix(0x66);
}

bool is_locked_exchange_of_32_bits(const RandomInstruction& random) {
  return random.insn.mnemonic == ZYDIS_MNEMONIC_CMPXCHG && random.has_prefix(0xf0) && random.operands[0].size == 32;
}

bool is_partial_remainder(const RandomInstruction& random) {
  return random.insn.mnemonic == ZYDIS_MNEMONIC_FPREM || random.insn.mnemonic == ZYDIS_MNEMONIC_FPREM1;
}

bool returns_far_up(const RandomInstruction& random) {
  return random.insn.mnemonic == ZYDIS_MNEMONIC_RET && (random.operands[0].imm.value.u & 0x8000) != 0;
}

bool hides_others_on_tcg(const RandomInstruction& random) {
  return moves_environment(random) || moves_all(random) || pushes_segment(random) || is_wide_exchange(random) ||
         loads_mxcsr(random) || loads_stack_segment(random);
}

OtherFlags other_flags_before(const RandomInstruction& random) {
  constexpr uint64_t kStatusFlags = 0x8d5, kAfAndOf = 0x810;
  if (needs_flags(random)) {
    return {
        "translate.c: an instruction that needs the flags, and whose access KVM or the guest first maps, leaves what is "
        "no flags",
        kStatusFlags, true};
  }
  if (tests_bit(random)) {
    return {"BT behind a page that KVM maps: AF and OF are as at the start of a block of TCG (tcg_flags.h)", kAfAndOf};
  }
  return {};
}

}  // namespace dejavm::differential
