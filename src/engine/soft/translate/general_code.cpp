// Instructions that the host runs as they are, but for their operands: the guest's registers become the host registers that
// hold them, memory becomes [kAddress], LOCK and segment prefixes go (there is one vCPU). Opcode and immediate are copied.
#include "engine/soft/decode.h"
#include "engine/soft/translate/block_translator.h"

namespace dejavm::soft {
namespace {

constexpr unsigned kRex = 0x40, kRexW = 8, kRexR = 4, kRexB = 1;
constexpr unsigned kRegisterForm = 0xc0, kAtAddress = 2;
constexpr uint8_t kOperandSize = 0x66, kRepne = 0xf2, kRep = 0xf3;
constexpr unsigned kFirstVector = 0, kSecondVector = 1;  // host XMM registers

bool is_written(const ZydisDecodedOperand& operand) { return (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0; }

/// What the operand held is part of the result, too: read, or kept in part or under a condition.
bool is_read(const ZydisDecodedOperand& operand, ZydisMnemonic mnemonic) {
  bool kept_for_zero = mnemonic == ZYDIS_MNEMONIC_BSF || mnemonic == ZYDIS_MNEMONIC_BSR;
  bool kept = is_written(operand) && (operand.size < 32 || (operand.actions & ZYDIS_OPERAND_ACTION_CONDWRITE) != 0);
  return (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0 || kept || kept_for_zero;
}

bool is_upper(const auto& use) { return use.present && !use.high_byte && encoding(use.host) >= 8; }

/// The register's bits in ModRM or the opcode. AH to BH have the numbers 4 to 7.
unsigned bits_of(const auto& use) { return use.high_byte ? 4 + use.guest : encoding(use.host) & 7; }

bool is_bit_string(ZydisMnemonic mnemonic) {
  return mnemonic == ZYDIS_MNEMONIC_BT || mnemonic == ZYDIS_MNEMONIC_BTS || mnemonic == ZYDIS_MNEMONIC_BTR ||
         mnemonic == ZYDIS_MNEMONIC_BTC;
}

/// INC and DEC of one byte are REX prefixes in 64-bit code.
bool is_short_increment(const ZydisDecodedInstruction& insn) {
  bool counts = insn.mnemonic == ZYDIS_MNEMONIC_INC || insn.mnemonic == ZYDIS_MNEMONIC_DEC;
  return counts && (insn.attributes & ZYDIS_ATTRIB_HAS_MODRM) == 0;
}
/// MOV between the accumulator and an absolute address.
bool is_absolute_move(const ZydisDecodedInstruction& insn) {
  return insn.mnemonic == ZYDIS_MNEMONIC_MOV && insn.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (insn.opcode & 0xfc) == 0xa0;
}

}  // namespace

/// Notes a register operand; false when it cannot be put in another's place.
bool BlockTranslator::add_register(const Site& site, const ZydisDecodedOperand& operand, Operands& found) const {
  uint8_t number = general_register(operand.reg.value);
  bool in_rm = operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM || operand.encoding == ZYDIS_OPERAND_ENCODING_OPCODE;
  bool in_reg = operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG;
  if (number == kNoRegister) {
    if (!site.is_vector || ZydisRegisterGetClass(operand.reg.value) != ZYDIS_REGCLASS_XMM || !(in_rm || in_reg))
      return false;
    (in_rm ? found.vector_rm : found.vector_reg) = static_cast<unsigned>(ZydisRegisterGetId(operand.reg.value));
    (in_rm ? found.vector_rm_written : found.vector_reg_written) = is_written(operand);
    return true;
  }
  bool high = number >= kHighByte;
  unsigned guest = high ? number - kHighByte : number;
  if (!in_rm && !in_reg) return guest < 4;  // AL, CL, eAX, eDX, unspelt: at home
  if (is_absolute_move(site.decoded)) return false;
  RegisterUse& use = in_rm ? found.rm : found.reg;
  use = {.present = true,
         .high_byte = high,
         .read = is_read(operand, site.decoded.mnemonic),
         .written = is_written(operand),
         .guest = guest};
  return !(high && operand.encoding == ZYDIS_OPERAND_ENCODING_OPCODE);
}

bool BlockTranslator::find_operands(const Site& site, Operands& found) const {
  for (int i = 0; i < site.decoded.operand_count_visible; ++i) {
    const ZydisDecodedOperand& operand = site.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
      if (!add_register(site, operand, found)) return false;
    } else if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
      if (operand.encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM && !is_absolute_move(site.decoded)) return false;
      found.has_memory = true;
      found.memory_written = is_written(operand);
    } else if (operand.type != ZYDIS_OPERAND_TYPE_IMMEDIATE) {
      return false;
    }
  }
  return choose_registers(found);
}

bool BlockTranslator::choose_registers(Operands& found) const {
  auto choose = [](RegisterUse& use, Host scratch) {
    if (!use.present) return;
    auto home = home_of(use.guest);
    use.borrowed = !home;
    use.host = home.value_or(scratch);
  };
  choose(found.reg, kScratch);
  // With a register there, kAddress is free.
  choose(found.rm, found.reg.borrowed && found.reg.guest != found.rm.guest ? kAddress : kScratch);
  return true;
}

/// AH to BH cannot be named beside a REX prefix.
bool BlockTranslator::needs_impossible_rex(const Site& site, const Operands& operands) const {
  bool high = (operands.reg.present && operands.reg.high_byte) || (operands.rm.present && operands.rm.high_byte);
  bool rex = operands.has_memory || is_upper(operands.reg) || is_upper(operands.rm) ||
             (site.decoded.attributes & ZYDIS_ATTRIB_HAS_REX) != 0;
  return high && rex;
}

void BlockTranslator::load_borrowed(const Operands& operands) {
  bool same = operands.reg.borrowed && operands.rm.borrowed && operands.reg.guest == operands.rm.guest;
  if (operands.reg.borrowed && (operands.reg.read || same))
    out_.load(operands.reg.host, fields_.general(operands.reg.guest));
  if (operands.rm.borrowed && !same && operands.rm.read) out_.load(operands.rm.host, fields_.general(operands.rm.guest));
}

void BlockTranslator::store_borrowed(const Operands& operands) {
  bool same = operands.reg.borrowed && operands.rm.borrowed && operands.reg.guest == operands.rm.guest;
  bool reg_written = operands.reg.written || (same && operands.rm.written);
  if (operands.reg.borrowed && reg_written) out_.store(fields_.general(operands.reg.guest), operands.reg.host);
  if (operands.rm.borrowed && !same && operands.rm.written) out_.store(fields_.general(operands.rm.guest), operands.rm.host);
}

void BlockTranslator::emit_encoded(const Site& site, const Operands& operands) {
  const ZydisDecodedInstruction& insn = site.decoded;
  bool keeps_repeat = site.is_vector || insn.mnemonic == ZYDIS_MNEMONIC_POPCNT;
  for (unsigned i = 0; i < insn.raw.prefix_count; ++i) {
    uint8_t prefix = insn.raw.prefixes[i].value;
    if (prefix == kOperandSize || (keeps_repeat && (prefix == kRepne || prefix == kRep))) out_.byte(prefix);
  }
  unsigned rex = (insn.attributes & ZYDIS_ATTRIB_HAS_REX) != 0 ? kRex | (insn.raw.rex.W != 0 ? kRexW : 0) : 0;
  if (is_upper(operands.reg)) rex |= kRex | kRexR;
  if (operands.has_memory || is_upper(operands.rm)) rex |= kRex | kRexB;
  if (rex != 0) out_.byte(rex);

  if (is_short_increment(insn)) {
    out_.bytes({0xff, kRegisterForm | (insn.mnemonic == ZYDIS_MNEMONIC_DEC ? 8u : 0u) | bits_of(operands.rm)});
    return;
  }
  if (is_absolute_move(insn)) {
    out_.bytes({(insn.opcode & 2) != 0 ? 0x88 | (insn.opcode & 1u) : 0x8a | (insn.opcode & 1u), kAtAddress});
    return;
  }
  bool has_modrm = (insn.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
  unsigned immediate = insn.raw.imm[0].size != 0 ? insn.raw.imm[0].offset : insn.length;
  unsigned opcode_end = has_modrm ? insn.raw.modrm.offset : immediate;
  if (insn.mnemonic == ZYDIS_MNEMONIC_MOVNTI) {
    out_.byte(0x89);
  } else {
    for (unsigned i = insn.raw.prefix_count; i < opcode_end; ++i) {
      unsigned opcode = site.bytes[i];
      bool alias = opcode == 0x82 && insn.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT;  // of 0x80, but not in 64-bit code
      if (alias) opcode = 0x80;
      bool holds_register = !has_modrm && i + 1 == opcode_end && operands.rm.present;
      out_.byte(holds_register ? (opcode & ~7u) | bits_of(operands.rm) : opcode);
    }
  }
  if (has_modrm) {
    unsigned reg = operands.reg.present ? bits_of(operands.reg) : operands.vector_reg ? kFirstVector : insn.raw.modrm.reg;
    unsigned rm = operands.has_memory   ? kAtAddress
                  : operands.rm.present ? kRegisterForm | bits_of(operands.rm)
                  : operands.vector_rm
                      ? kRegisterForm | (operands.vector_rm == operands.vector_reg ? kFirstVector : kSecondVector)
                      : kRegisterForm | insn.raw.modrm.rm;
    out_.byte(reg << 3 | rm);
  }
  for (unsigned i = immediate; i < insn.length; ++i) out_.byte(site.bytes[i]);
}

/// The host must not raise #DE: rDX, the upper half of the dividend, has to be below the divisor.
void BlockTranslator::guard_division(const Site& site, const Operands& operands) {
  destroy_flags();
  load_borrowed(operands);
  bool upper = operands.has_memory || is_upper(operands.rm);
  out_.byte(kRex | (site.insn->operand_size == 8 ? kRexW : 0) | (upper ? kRexB : 0));
  unsigned rm = operands.has_memory ? kAtAddress : kRegisterForm | bits_of(operands.rm);
  out_.bytes({0x3b, encoding(Host::rdx) << 3 | rm});  // cmp rdx, divisor
  leave_if(Condition::above_or_equal, site);
}

/// False: not an instruction of this kind; nothing has been emitted.
bool BlockTranslator::emit_general(const Site& site) {
  const Instruction& insn = *site.insn;
  if (!(site.effect || site.is_vector) || insn.ends_block || site.decoded.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
    return false;
  FlagEffect effect = site.effect.value_or(FlagEffect{});
  if (!flags_are_known(site, effect)) return false;
  Operands operands;
  if (!find_operands(site, operands) || needs_impossible_rex(site, operands)) return false;
  bool misplaced_rex = (site.decoded.attributes & ZYDIS_ATTRIB_HAS_REX) != 0 &&
                       site.decoded.raw.rex.offset + 1 != site.decoded.raw.prefix_count;
  if (misplaced_rex || (operands.has_memory && !can_address(site))) return false;
  bool has_size = insn.memory_size == 1 || insn.memory_size == 2 || insn.memory_size == 4 || insn.memory_size == 8;
  if (operands.has_memory && !has_size && !(site.is_vector && insn.memory_size == 16)) return false;
  if (operands.has_memory && is_bit_string(site.decoded.mnemonic) && !insn.has_immediate) return false;
  if (site.decoded.mnemonic == ZYDIS_MNEMONIC_BSWAP && insn.operand_size == 2) return false;
  if (site.decoded.mnemonic == ZYDIS_MNEMONIC_DIV && insn.operand_size < 4) return false;

  size_t first_cold = cold_.size();
  if (site.is_vector) check_sse(site);
  if (operands.has_memory) {
    save_flags();
    emit_address(site);
    emit_lookup(site, operands.memory_written ? Reach::write : Reach::read, insn.memory_size);
    if (site.is_vector) check_vector_alignment(site);
  }
  if (site.decoded.mnemonic == ZYDIS_MNEMONIC_DIV) guard_division(site, operands);
  need_flags(site, effect);
  load_borrowed(operands);
  bool one_vector = operands.vector_rm == operands.vector_reg;
  if (operands.vector_reg) move_vector(kFirstVector, *operands.vector_reg, false);
  if (operands.vector_rm && !one_vector) move_vector(kSecondVector, *operands.vector_rm, false);
  emit_encoded(site, operands);
  if (operands.vector_reg && (operands.vector_reg_written || (one_vector && operands.vector_rm_written))) {
    move_vector(kFirstVector, *operands.vector_reg, true);
  }
  if (operands.vector_rm && !one_vector && operands.vector_rm_written) move_vector(kSecondVector, *operands.vector_rm, true);
  store_borrowed(operands);
  if (effect.writes != FlagEffect::Writes::none) {
    host_flags_ = true;
    saved_flags_ = false;
  }
  end_of_slow(first_cold);
  return true;
}

/// MOV from a segment register to a general register of 32 or 64 bits, whose upper bits become 0.
bool BlockTranslator::emit_selector_move(const Site& site) {
  const ZydisDecodedInstruction& source = site.decoded;
  const Instruction& insn = *site.insn;
  constexpr uint8_t kOpcode = 0x8c;
  if (source.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT || source.opcode != kOpcode || insn.has_memory) return false;
  if (insn.operand_size < 4 || insn.reg >= 16 || insn.other > vm::gs) return false;
  Host to = home_of(insn.reg).value_or(kScratch);
  out_.with_field({0x0f, 0xb7}, encoding(to), fields_.selector(insn.other), false);  // movzx
  if (to == kScratch) out_.store(fields_.general(insn.reg), kScratch);
  return true;
}

/// LEA computes with the guest's registers where they are; it accesses nothing.
bool BlockTranslator::emit_lea(const Site& site) {
  const Instruction& insn = *site.insn;
  bool low_half = insn.displacement == static_cast<int32_t>(insn.displacement);
  if (insn.operand_size < 4 || insn.address_size < 4 || !low_half || insn.reg >= 16) return false;
  bool wide = insn.operand_size == 8 && insn.address_size == 8;
  auto cut = [wide](uint64_t value) { return wide ? value : static_cast<uint32_t>(value); };
  Host to = home_of(insn.reg).value_or(kScratch);
  if (insn.base == kRipBase) {
    out_.constant(to, cut(site.behind + static_cast<uint64_t>(insn.displacement)));
  } else if (insn.base >= 16 && insn.index >= 16) {
    out_.constant(to, cut(static_cast<uint64_t>(insn.displacement)));
  } else {
    std::optional<Host> base, index;
    if (insn.base < 16) base = general_in(insn.base, kAddress);
    if (insn.index < 16) index = general_in(insn.index, kScratch);
    out_.lea(to, base, index, insn.scale, static_cast<int32_t>(insn.displacement), wide);
  }
  if (!home_of(insn.reg)) out_.store(fields_.general(insn.reg), kScratch);
  return true;
}

}  // namespace dejavm::soft
