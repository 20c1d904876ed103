// PUSH, POP and LEAVE. RSP moves when the access has been made, so that the slow path can begin anew.
#include "engine/soft/translate/block_translator.h"

namespace dejavm::soft {
namespace {

constexpr unsigned kRexWithAddress = 0x41;  // REX.B: kAddress is the base
constexpr unsigned kRexW = 8, kRexR = 4;
constexpr unsigned kAtAddress = 2;  // ModRM: [kAddress]

unsigned rex_of(Host reg, bool wide) { return kRexWithAddress | (wide ? kRexW : 0) | (encoding(reg) >= 8 ? kRexR : 0); }

}  // namespace

void BlockTranslator::store_at_address(Host from) {
  out_.bytes({rex_of(from, mode_.wide), 0x89, (encoding(from) & 7) << 3 | kAtAddress});
}

void BlockTranslator::load_from_address(Host to) {
  out_.bytes({rex_of(to, mode_.wide), 0x8b, (encoding(to) & 7) << 3 | kAtAddress});
}

void BlockTranslator::store_constant_at_address(uint64_t value) {
  out_.constant(kScratch, mode_.wide ? value : static_cast<uint32_t>(value));
  store_at_address(kScratch);
}

void BlockTranslator::move_stack(int32_t bytes) { out_.lea(Host::r8, Host::r8, std::nullopt, 0, bytes, mode_.wide); }

bool BlockTranslator::emit_push(const Site& site) {
  const Instruction& insn = *site.insn;
  bool general = site.operands[0].type != ZYDIS_OPERAND_TYPE_REGISTER || insn.reg < 16;
  if (insn.has_memory || !general || site.decoded.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) return false;
  size_t first_cold = cold_.size();
  auto size = static_cast<int32_t>(word_size());
  emit_stack_address(size);
  emit_lookup(site, Reach::write, word_size());
  if (insn.has_immediate) {
    store_constant_at_address(insn.immediate);
  } else {
    store_at_address(general_in(insn.reg, kScratch));
  }
  move_stack(-size);
  end_of_slow(first_cold);
  return true;
}

bool BlockTranslator::emit_pop(const Site& site) {
  const Instruction& insn = *site.insn;
  bool plain = !insn.has_memory && insn.reg < 16 && insn.reg != vm::rsp;
  if (!plain || site.decoded.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) return false;
  size_t first_cold = cold_.size();
  emit_stack_address(0);
  emit_lookup(site, Reach::read, word_size());
  auto home = home_of(insn.reg);
  load_from_address(home.value_or(kScratch));
  if (!home) out_.store(fields_.general(insn.reg), kScratch);
  move_stack(static_cast<int32_t>(word_size()));
  end_of_slow(first_cold);
  return true;
}

bool BlockTranslator::emit_leave(const Site& site) {
  if (site.decoded.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) return false;
  size_t first_cold = cold_.size();
  out_.lea(kAddress, Host::rbp, std::nullopt, 0, 0, mode_.wide);
  emit_lookup(site, Reach::read, word_size());
  out_.lea(Host::r8, Host::rbp, std::nullopt, 0, static_cast<int32_t>(word_size()), mode_.wide);
  load_from_address(Host::rbp);
  end_of_slow(first_cold);
  return true;
}

}  // namespace dejavm::soft
