#include "engine/soft/translate/block_translator.h"

#include <algorithm>
#include <cstring>

#include "engine/soft/decode.h"
#include "engine/soft/integer_rooms.h"
#include "vm/address.h"

namespace dejavm::soft {
namespace {

constexpr uint64_t kInPage = vm::kPageSize - 1;

}  // namespace

BlockTranslator::BlockTranslator(Core& core, Emitter& out, Shared& shared, HostFlags host_flags)
    : core_(core), out_(out), shared_(shared), fields_(core), trusted_flags_(host_flags) {
  sites_.reserve(BlockCache::kMaxInstructions);
}

bool BlockTranslator::does_nothing(const Site& site) const { return site.insn->run == do_nothing && !site.insn->ends_block; }

/// Zydis once more: the blocks keep what the interpreter needs, not how it was encoded.
void BlockTranslator::decode_sites(const Block& block, size_t count) {
  const ZydisDecoder& decoder = decoder_for(block.code_bits, core_.features);
  vm::GuestMemory& memory = core_.memory.memory();
  uint64_t rip = key_.rip, offset = block.offset;
  for (const Instruction& insn : block.instructions.first(count)) {
    Site& site = sites_.emplace_back();
    site.insn = &insn;
    site.number = static_cast<unsigned>(sites_.size() - 1);
    site.rip = rip;
    site.behind = mode_.wide ? rip + insn.length : static_cast<uint32_t>(rip + insn.length);
    size_t in_first = std::min<size_t>(insn.length, vm::kPageSize - (offset & kInPage));
    std::memcpy(site.bytes, memory.host(offset), in_first);
    if (in_first < insn.length) {
      std::memcpy(site.bytes + in_first, memory.host(block.second_page * vm::kPageSize), insn.length - in_first);
    }
    ZydisDecoderContext context;
    auto status = ZydisDecoderDecodeInstruction(&decoder, &context, site.bytes, insn.length, &site.decoded);
    // What raises a fault by itself has no mnemonic here.
    bool same = ZYAN_SUCCESS(status) && site.decoded.mnemonic == insn.mnemonic && site.decoded.length == insn.length;
    if (same) {
      CHECK(ZYAN_SUCCESS(
          ZydisDecoderDecodeOperands(&decoder, &context, &site.decoded, site.operands, site.decoded.operand_count_visible)));
      site.effect = flag_effect(site.decoded);
      bool scans = site.effect && site.effect->undefined == FlagEffect::Undefined::scan;
      if (scans && core_.features.scans_keep_flags) site.effect->writes = FlagEffect::Writes::some;
      if (core_.features.tcg && has_other_result(site.decoded)) site.effect.reset();
      site.is_vector = !site.effect && is_plain_vector(site);
    } else {
      site.decoded = {};
    }
    rip = site.behind;
    offset += insn.length;
  }
}

void BlockTranslator::emit_page_check(uint64_t linear, uint64_t page) {
  out_.constant(kScratch, TlbEntry::code_key(linear, page));
  out_.with_field({0x3b}, encoding(kScratch), fields_.code_key(mode_, linear), true);  // cmp
  stale_exits_.push_back(out_.jump_if(Condition::not_equal));
}

void BlockTranslator::add_to_left(int steps) {
  static_assert(kLeft == Host::r14 && BlockCache::kMaxInstructions < 128);
  out_.bytes({0x49, 0x83, 0xc6, static_cast<uint8_t>(steps)});  // add left, steps
}

void BlockTranslator::emit_entry(const Block& block, TranslatedBlock& result) {
  result.checked = out_.here();
  emit_page_check(key_.rip, block.offset / vm::kPageSize);
  result.fast = out_.here();
  if (block.page_count == 2) {
    uint64_t second = (key_.rip | kInPage) + 1;
    emit_page_check(mode_.wide ? second : static_cast<uint32_t>(second), block.second_page);
  }
  add_to_left(-static_cast<int>(sites_.size()));
  limit_exit_ = out_.jump_if(Condition::less);
}

/// A block that only counts down, `again: dec reg; jnz again`, as delay loops do: all rounds but the last that the steps
/// allow are taken at once. Nobody can tell: a round changes nothing but the register, the steps, and flags that the next
/// one sets.
void BlockTranslator::emit_countdown() {
  constexpr unsigned kNotZero = 5;
  if (sites_.size() != 2) return;
  const Instruction &count = *sites_[0].insn, &back = *sites_[1].insn;
  bool counts = sites_[0].decoded.mnemonic == ZYDIS_MNEMONIC_DEC && !count.has_memory && count.operand_size >= 4;
  bool loops =
      sites_[1].decoded.mnemonic == ZYDIS_MNEMONIC_JNZ && back.condition == kNotZero && branch_target(sites_[1]) == key_.rip;
  if (!counts || !loops || count.reg == vm::rsp) return;
  std::optional<Host> reg = home_of(count.reg);
  if (!reg) return;
  static_assert(kScratch == Host::r11 && kAddress == Host::r10 && kLeft == Host::r14);
  bool wide = count.operand_size == 8;
  unsigned rex = 0x44u | (wide ? 8u : 0u) | (encoding(*reg) >= 8 ? 1u : 0u);
  out_.lea(kScratch, *reg, std::nullopt, 0, -1, wide);  // rounds that go on after this one ...
  out_.move(kAddress, kLeft);
  out_.bytes({0x49, 0xd1, 0xea});                         // shr address, 1: ... and those that the steps allow
  out_.bytes({0x4d, 0x39, 0xd3});                         // cmp scratch, address
  out_.bytes({0x4d, 0x0f, 0x47, 0xda});                   // cmova scratch, address
  out_.bytes({rex, 0x29, 0xd8u | (encoding(*reg) & 7)});  // sub reg, scratch
  out_.bytes({0x4d, 0x29, 0xde, 0x4d, 0x29, 0xde});       // sub left, scratch, twice
}

bool BlockTranslator::emit_special(const Site& site) {
  switch (site.decoded.mnemonic) {
    case ZYDIS_MNEMONIC_LEA:
      return emit_lea(site);
    case ZYDIS_MNEMONIC_PUSH:
      return emit_push(site);
    case ZYDIS_MNEMONIC_POP:
      return emit_pop(site);
    case ZYDIS_MNEMONIC_LEAVE:
      return emit_leave(site);
    case ZYDIS_MNEMONIC_MOV:
      return emit_selector_move(site) || emit_general(site);
    case ZYDIS_MNEMONIC_PUSHFQ:
      return emit_push_flags(site);
    case ZYDIS_MNEMONIC_CLI:
      return emit_clear_interrupts(site);
    default:
      return emit_general(site);
  }
}

void BlockTranslator::emit_site(const Site& site) {
  if (does_nothing(site)) return;
  if (core_.features.tcg && site.insn->ends_block) emit_lazy_flags(site);
  bool is_branch = site.insn->ends_block && site.decoded.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;
  if (is_branch && emit_branch(site)) {
    ended_ = true;
  } else if (site.insn->ends_block) {
    if (!emit_repeated_string(site)) call_slow(site);  // does not come back
    ended_ = true;
  } else if (!emit_special(site)) {
    call_slow(site);
  }
}

/// With RIP at the block.
void BlockTranslator::emit_exit(CodeOffset to) {
  out_.constant(kScratch, key_.rip);
  out_.store(fields_.rip(), kScratch);
  out_.jump_to(to);
}

/// The result is TranslatedBlock::refetch.
CodeOffset BlockTranslator::emit_cold() {
  for (const Cold& cold : cold_) {
    out_.bind_here(cold.from);
    load_slow_point(sites_[cold.site]);
    out_.call(shared_.slow);
    if (cold.back) out_.jump_to(*cold.back);
  }
  for (const LinkExit& exit : link_exits_) {
    out_.bind_here(exit.from);
    out_.constant(kScratch, exit.link);
    out_.jump_to(shared_.follow);
  }
  out_.bind_here(limit_exit_);
  add_to_left(static_cast<int>(sites_.size()));
  emit_exit(shared_.leave);
  CodeOffset refetch = out_.here();
  for (CodeOffset place : stale_exits_) out_.bind(place, refetch);
  emit_exit(shared_.refetch);
  return refetch;
}

void BlockTranslator::begin(const BlockKey& key) {
  key_ = key;
  mode_ = key.mode;
  sites_.clear();
  cold_.clear();
  link_exits_.clear();
  stale_exits_.clear();
  host_flags_ = sse_checked_ = ended_ = false;
  saved_flags_ = true;
}

TranslatedBlock BlockTranslator::translate(const Block& block, size_t count, const BlockKey& key) {
  begin(key);
  decode_sites(block, count);
  find_live_flags();
  if (core_.features.tcg) find_lazy_flags();
  TranslatedBlock result{.key = key,
                         .pieces = block.pieces,
                         .second_page = block.page_count == 2 ? block.second_page : 0,
                         .second_pieces = block.second_pieces,
                         .last_byte = sites_.back().rip + sites_.back().insn->length - 1};
  emit_entry(block, result);
  emit_countdown();
  for (const Site& site : sites_) emit_site(site);
  if (!ended_) {
    if (core_.features.tcg) emit_lazy_flags(sites_.back());
    save_flags();
    emit_link(sites_.back().behind, std::nullopt);
  }
  result.refetch = emit_cold();
  return result;
}

}  // namespace dejavm::soft
