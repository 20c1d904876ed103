// JMP, Jcc, CALL, RET and where they lead.
//
// Direct: a Link, whose jump goes to an exit first and to the target's code when that is known. On the same linear page it
// goes to the fast entry, because the page was found when this block was entered and nothing in a block changes that.
// Indirect: a jump cache by guest address. When the address is not in it, the instruction has done nothing yet and the slow
// path does it whole: so the address that the cache gives needs no check whether it is canonical.
#include "engine/soft/translate/block_translator.h"

namespace dejavm::soft {
namespace {

static_assert(sizeof(JumpTarget) == 16 && kJumpTargets == 16384, "the lookup's shifts and mask");

}  // namespace

uint64_t BlockTranslator::branch_target(const Site& site) const {
  uint64_t target = site.behind + site.insn->immediate;
  return mode_.wide ? target : static_cast<uint32_t>(target);
}

/// Jumps when the condition holds, or always.
void BlockTranslator::emit_link(uint64_t target, std::optional<unsigned> condition) {
  CodeOffset place = condition ? out_.jump_if(*condition) : out_.jump();
  link_exits_.push_back({place, shared_.links.size()});
  shared_.links.push_back({target, place, key_});
}

/// kAddress is the guest's address: kScratch becomes the place of its code.
void BlockTranslator::emit_jump_lookup(const Site& site) {
  destroy_flags();
  out_.move(kScratch, kAddress);
  out_.bytes({0x49, 0xc1, 0xeb, 12});  // shr scratch, 12
  out_.bytes({0x4d, 0x31, 0xd3});      // xor scratch, address
  out_.bytes({0x41, 0x81, 0xe3});      // and scratch, kJumpTargets - 1
  out_.word(kJumpTargets - 1);
  out_.bytes({0x49, 0xc1, 0xe3, 4});                                   // shl scratch, 4
  out_.with_field({0x03}, encoding(kScratch), fields_.jumps(), true);  // add
  out_.bytes({0x4d, 0x3b, 0x13});                                      // cmp address, [scratch]
  leave_if(Condition::not_equal, site);
  out_.bytes({0x4d, 0x8b, 0x5b, 8});  // mov scratch, [scratch + 8]
}

bool BlockTranslator::emit_jump(const Site& site) {
  uint64_t target = branch_target(site);
  if (!Core::canonical(target)) return false;
  if (site.decoded.mnemonic == ZYDIS_MNEMONIC_JMP) {
    save_flags();
    emit_link(target, std::nullopt);
    return true;
  }
  if (site.decoded.meta.category != ZYDIS_CATEGORY_COND_BR || site.insn->run == nullptr) return false;
  bool counts = site.decoded.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (site.decoded.opcode & 0xf0) == 0xe0;  // LOOP, JCXZ
  if (counts) return false;
  bool carry_only = (site.decoded.opcode & 14) == 2;
  need_flags(site, {.reads = carry_only ? FlagEffect::Reads::carry : FlagEffect::Reads::any});
  save_flags();
  emit_link(target, site.insn->condition);
  emit_link(site.behind, std::nullopt);
  return true;
}

bool BlockTranslator::emit_call(const Site& site) {
  uint64_t target = branch_target(site);
  if (!Core::canonical(target)) return false;
  auto size = static_cast<int32_t>(word_size());
  emit_stack_address(size);
  emit_lookup(site, Reach::write, word_size());
  store_constant_at_address(site.behind);
  move_stack(-size);
  emit_link(target, std::nullopt);
  return true;
}

bool BlockTranslator::emit_return(const Site& site) {
  if (core_.features.tcg && (site.insn->immediate & 0x8000) != 0) return false;  // the number of bytes has a sign
  emit_stack_address(0);
  emit_lookup(site, Reach::read, word_size());
  load_from_address(kAddress);
  emit_jump_lookup(site);
  move_stack(static_cast<int32_t>(word_size() + (site.insn->immediate & 0xffff)));
  out_.bytes({0x41, 0xff, 0xe3});  // jmp scratch
  return true;
}

bool BlockTranslator::emit_indirect(const Site& site, bool is_call) {
  if (site.insn->has_memory) {
    if (!can_address(site)) return false;
    emit_address(site);
    emit_lookup(site, Reach::read, word_size());
    load_from_address(kAddress);
  } else {
    destroy_flags();
    Host from = general_in(site.insn->reg, kAddress);
    out_.lea(kAddress, from, std::nullopt, 0, 0, mode_.wide);
  }
  emit_jump_lookup(site);
  if (is_call) {
    auto size = static_cast<int32_t>(word_size());
    out_.store(fields_.next_code(), kScratch);
    emit_stack_address(size);
    emit_lookup(site, Reach::write, word_size());
    store_constant_at_address(site.behind);
    move_stack(-size);
    out_.with_field({0xff}, 4, fields_.next_code(), false);  // jmp [next_code]
  } else {
    out_.bytes({0x41, 0xff, 0xe3});  // jmp scratch
  }
  return true;
}

/// False: the slow path does it.
bool BlockTranslator::emit_branch(const Site& site) {
  if (site.decoded.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) return false;
  if (site.decoded.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return false;
  bool indirect = site.insn->has_memory || site.insn->reg != kNoRegister;
  switch (site.decoded.mnemonic) {
    case ZYDIS_MNEMONIC_CALL:
      return indirect ? emit_indirect(site, true) : emit_call(site);
    case ZYDIS_MNEMONIC_RET:
      return emit_return(site);
    case ZYDIS_MNEMONIC_JMP:
      return indirect ? emit_indirect(site, false) : emit_jump(site);
    default:
      return site.decoded.meta.category == ZYDIS_CATEGORY_COND_BR && emit_jump(site);
  }
}

}  // namespace dejavm::soft
