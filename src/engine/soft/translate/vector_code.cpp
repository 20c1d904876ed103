// SSE instructions that move or combine bits and integers: their results depend on the operands alone. The guest's XMM
// registers stay in CpuState and visit the host's XMM0 and XMM1.
#include "engine/soft/native_ops.h"
#include "engine/soft/translate/block_translator.h"

namespace dejavm::soft {
namespace {

bool is_move(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_MOVD:
    case ZYDIS_MNEMONIC_MOVQ:
    case ZYDIS_MNEMONIC_MOVDQA:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_MOVAPS:
    case ZYDIS_MNEMONIC_MOVAPD:
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVSS:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_MOVHPS:
    case ZYDIS_MNEMONIC_MOVHPD:
    case ZYDIS_MNEMONIC_MOVLPS:
    case ZYDIS_MNEMONIC_MOVLPD:
    case ZYDIS_MNEMONIC_MOVHLPS:
    case ZYDIS_MNEMONIC_MOVLHPS:
      return true;
    default:
      return false;
  }
}

bool may_be_unaligned(ZydisMnemonic mnemonic) {
  return mnemonic == ZYDIS_MNEMONIC_MOVDQU || mnemonic == ZYDIS_MNEMONIC_MOVUPS || mnemonic == ZYDIS_MNEMONIC_MOVUPD;
}

bool is_sse(ZydisISASet set) {
  switch (set) {
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSE2:
    case ZYDIS_ISA_SET_SSE3:
    case ZYDIS_ISA_SET_SSSE3:
    case ZYDIS_ISA_SET_SSE4:
    case ZYDIS_ISA_SET_SSE42:
      return true;
    default:
      return false;
  }
}

bool uses_xmm(const ZydisDecodedInstruction& insn, const ZydisDecodedOperand* operands) {
  for (int i = 0; i < insn.operand_count_visible; ++i) {
    bool is_register = operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER;
    if (is_register && ZydisRegisterGetClass(operands[i].reg.value) == ZYDIS_REGCLASS_XMM) return true;
  }
  return false;
}

}  // namespace

/// A stub means that bind_vector() took the instruction and that this host has it.
bool BlockTranslator::is_plain_vector(const Site& site) const {
  ZydisMnemonic mnemonic = site.decoded.mnemonic;
  if (!is_sse(site.decoded.meta.isa_set) || !uses_xmm(site.decoded, site.operands)) return false;
  return is_move(mnemonic) || (site.insn->native != nullptr && vector_use(mnemonic) == 0);
}

/// Once in a block: what it depends on cannot change within.
void BlockTranslator::check_sse(const Site& site) {
  if (sse_checked_) return;
  destroy_flags();
  out_.with_field({0x80}, 7, fields_.sse_blocked(), false);  // cmp byte, 0
  out_.byte(0);
  leave_if(Condition::not_equal, site);
  sse_checked_ = true;
}

void BlockTranslator::check_vector_alignment(const Site& site) {
  if (site.insn->memory_size != 16 || may_be_unaligned(site.decoded.mnemonic)) return;
  out_.bytes({0x41, 0xf6, 0xc2, 15});  // test address (lowest byte), 15
  leave_if(Condition::not_equal, site);
}

/// MOVUPS between a host register and CpuState.
void BlockTranslator::move_vector(unsigned host, unsigned guest, bool store) {
  out_.with_field({0x0f, store ? 0x11u : 0x10u}, host, fields_.vector(guest), false);
}

}  // namespace dejavm::soft
