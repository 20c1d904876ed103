#include "engine/soft/decode_operands.h"

#include <bit>

namespace dejavm::soft {
namespace {

uint8_t offset_in_class(ZydisRegister reg, ZydisRegister first) { return static_cast<uint8_t>(reg - first); }

uint8_t segment_name(ZydisRegister reg) {
  switch (reg) {
    case ZYDIS_REGISTER_ES:
      return vm::es;
    case ZYDIS_REGISTER_CS:
      return vm::cs;
    case ZYDIS_REGISTER_SS:
      return vm::ss;
    case ZYDIS_REGISTER_FS:
      return vm::fs;
    case ZYDIS_REGISTER_GS:
      return vm::gs;
    default:
      return vm::ds;
  }
}

/// String instructions take the last of F2 and F3, and MOVS, STOS, LODS, INS and OUTS repeat with either.
Repeat repeat_of(const ZydisDecodedInstruction& insn) {
  if (insn.meta.category != ZYDIS_CATEGORY_STRINGOP && insn.meta.category != ZYDIS_CATEGORY_IOSTRINGOP) return Repeat::none;
  Repeat repeat = Repeat::none;
  for (unsigned i = 0; i < insn.raw.prefix_count; ++i) {
    if (insn.raw.prefixes[i].value == 0xf3) repeat = Repeat::rep;
    if (insn.raw.prefixes[i].value == 0xf2) repeat = Repeat::repne;
  }
  return repeat;
}

bool has_condition(const ZydisDecodedInstruction& insn) {
  unsigned row = insn.opcode & 0xf0;
  if (insn.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT) return row == 0x70;
  return insn.opcode_map == ZYDIS_OPCODE_MAP_0F && (row == 0x40 || row == 0x80 || row == 0x90);
}

/// A SIB byte with base 5 and no displacement in ModRM has no base, whatever REX.B is; Zydis 4.0 gives R13D to 32-bit
/// addresses.
bool has_no_base(const ZydisDecodedInstruction& insn) {
  bool has_sib = (insn.attributes & ZYDIS_ATTRIB_HAS_SIB) != 0;
  return has_sib && insn.raw.modrm.mod == 0 && insn.raw.sib.base == 5;
}

void fill_address(const ZydisDecodedOperand& operand, const ZydisDecodedInstruction& source, Instruction& insn) {
  const ZydisDecodedOperandMem& memory = operand.mem;
  insn.segment = segment_name(memory.segment);
  bool relative = memory.base == ZYDIS_REGISTER_RIP || memory.base == ZYDIS_REGISTER_EIP;
  insn.base = relative ? kRipBase : has_no_base(source) ? kNoRegister : general_register(memory.base);
  insn.index = general_register(memory.index);
  insn.scale = memory.scale > 1 ? static_cast<uint8_t>(std::countr_zero(memory.scale)) : uint8_t{0};
  insn.displacement = has_no_base(source) ? source.raw.disp.value : memory.disp.value;
}

/// Their immediate byte is not yet fetched when TCG computes the address.
bool is_double_shift_by_constant(const Decoded& decoded) {
  bool shifts = decoded.insn.mnemonic == ZYDIS_MNEMONIC_SHLD || decoded.insn.mnemonic == ZYDIS_MNEMONIC_SHRD;
  return shifts && decoded.is_immediate(2);
}

void fill_memory(const Decoded& decoded, int number, Instruction& insn) {
  const ZydisDecodedOperand& operand = decoded.operands[number];
  fill_address(operand, decoded.insn, insn);
  if (decoded.features.tcg && insn.base == kRipBase && is_double_shift_by_constant(decoded)) --insn.displacement;
  insn.has_memory = true;
  insn.memory_size = decoded.size(number) < 256 ? static_cast<uint8_t>(decoded.size(number)) : uint8_t{0};
  bool written = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  insn.memory_is_destination = written || (number == 0 && decoded.insn.operand_count_visible > 1);
}

/// The memory of instructions that do not spell it: the operand that a segment override applies to.
void fill_hidden_segment(const Decoded& decoded, Instruction& insn) {
  bool found = false;
  for (unsigned i = decoded.insn.operand_count_visible; i < decoded.insn.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    bool is_source = general_register(operand.mem.base) == vm::rsi;
    if (!found || is_source) insn.segment = segment_name(operand.mem.segment);
    found = true;
  }
}

void fill_immediate(const ZydisDecodedOperand& operand, bool first, Instruction& insn) {
  // ENTER and EXTRQ have two: the first is the main one of ENTER, and its nesting level is the second.
  if (first) {
    insn.immediate = operand.imm.value.u;
  } else {
    insn.selector = static_cast<uint16_t>(operand.imm.value.u);
  }
}

void fill_operands(const Decoded& decoded, Instruction& insn) {
  unsigned immediates = 0;
  for (int i = 0; i < decoded.insn.operand_count_visible; ++i) {
    const ZydisDecodedOperand& operand = decoded.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
      uint8_t number = general_register(operand.reg.value);
      if (number == kNoRegister) continue;
      if (insn.reg == kNoRegister) {
        insn.reg = number;
      } else if (insn.other == kNoRegister) {
        insn.other = number;
      }
    } else if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
      fill_memory(decoded, i, insn);
    } else if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
      fill_immediate(operand, immediates++ == 0, insn);
      insn.has_immediate = true;
    } else if (operand.type == ZYDIS_OPERAND_TYPE_POINTER) {
      insn.selector = operand.ptr.segment;
      insn.immediate = operand.ptr.offset;
    }
  }
}

}  // namespace

uint8_t general_register(ZydisRegister reg) {
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8: {
      // Zydis's order: AL CL DL BL, AH CH DH BH, SPL BPL SIL DIL, R8B ...
      uint8_t position = offset_in_class(reg, ZYDIS_REGISTER_AL);
      if (position < 4) return position;
      return position < 8 ? static_cast<uint8_t>(kHighByte + position - 4) : static_cast<uint8_t>(position - 4);
    }
    case ZYDIS_REGCLASS_GPR16:
      return offset_in_class(reg, ZYDIS_REGISTER_AX);
    case ZYDIS_REGCLASS_GPR32:
      return offset_in_class(reg, ZYDIS_REGISTER_EAX);
    case ZYDIS_REGCLASS_GPR64:
      return offset_in_class(reg, ZYDIS_REGISTER_RAX);
    default:
      return kNoRegister;
  }
}

Instruction fields_of(const Decoded& decoded) {
  const ZydisDecodedInstruction& source = decoded.insn;
  Instruction insn;
  insn.mnemonic = static_cast<uint16_t>(source.mnemonic);
  insn.length = source.length;
  insn.operand_size = static_cast<uint8_t>(source.operand_width / 8);
  insn.address_size = static_cast<uint8_t>(source.address_width / 8);
  insn.repeat = repeat_of(source);
  insn.lock = (source.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0;
  insn.rex = (source.attributes & ZYDIS_ATTRIB_HAS_REX) != 0;
  if (has_condition(source)) insn.condition = source.opcode & 15;
  fill_operands(decoded, insn);
  if (!insn.has_memory) fill_hidden_segment(decoded, insn);
  return insn;
}

}  // namespace dejavm::soft
