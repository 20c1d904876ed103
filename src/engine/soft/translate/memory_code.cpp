// Accesses of memory: the linear address, the lookup in the Tlb, and the way out when it is not there.
#include "engine/soft/translate/block_translator.h"

namespace dejavm::soft {
namespace {

static_assert(sizeof(TlbEntry) == 16 && Tlb::kEntries == 1024, "the lookup's shift and mask");
constexpr unsigned kIndexShift = 8;  // linear >> 12 for the page, << 4 for the entry
constexpr uint32_t kIndexMask = 0x3ff0;

bool is_low_half(uint64_t value) { return static_cast<int64_t>(value) == static_cast<int32_t>(value); }

}  // namespace

/// Addresses of full width, in segments whose base is zero or known without a check.
bool BlockTranslator::can_address(const Site& site) const {
  const Instruction& insn = *site.insn;
  if (!is_low_half(static_cast<uint64_t>(insn.displacement))) return false;
  if (mode_.wide) return insn.address_size >= 4;
  return insn.address_size == 4 && insn.segment != vm::fs && insn.segment != vm::gs && insn.segment != vm::cs;
}

Host BlockTranslator::general_in(unsigned guest, Host scratch) {
  if (auto home = home_of(guest)) return *home;
  out_.load(scratch, fields_.general(guest));
  return scratch;
}

void BlockTranslator::emit_address(const Site& site) {
  const Instruction& insn = *site.insn;
  bool wide = insn.address_size == 8;
  auto cut = [wide](uint64_t value) { return wide ? value : static_cast<uint32_t>(value); };
  uint64_t displacement = static_cast<uint64_t>(insn.displacement);
  if (insn.base == kRipBase) {
    out_.constant(kAddress, cut(site.behind + displacement));
  } else if (insn.base >= 16 && insn.index >= 16) {
    out_.constant(kAddress, cut(displacement));
  } else {
    std::optional<Host> base, index;
    if (insn.base < 16) base = general_in(insn.base, kAddress);
    if (insn.index < 16) index = general_in(insn.index, kScratch);
    out_.lea(kAddress, base, index, insn.scale, static_cast<int32_t>(insn.displacement), wide);
  }
  if (insn.segment < vm::fs) return;
  destroy_flags();
  out_.with_field({0x03}, encoding(kAddress), fields_.segment_base(insn.segment), true);  // add
}

/// `below` bytes below the stack pointer.
void BlockTranslator::emit_stack_address(int32_t below) {
  out_.lea(kAddress, Host::r8, std::nullopt, 0, -below, mode_.wide);
}

void BlockTranslator::emit_lookup(const Site& site, Reach reach, unsigned size) {
  destroy_flags();
  out_.move(kScratch, kAddress);
  out_.bytes({0x49, 0xc1, 0xeb, kIndexShift});  // shr scratch, 8
  out_.bytes({0x41, 0x81, 0xe3});               // and scratch, mask (32 bits)
  out_.word(kIndexMask);
  // The address becomes an offset in the page of the entry, if it is in there.
  out_.with_indexed_field(0x2b, kAddress, fields_.tag(mode_, reach));  // sub
  out_.bytes({0x49, 0x81, 0xfa});                                      // cmp address, last offset
  out_.word(static_cast<uint32_t>(vm::kPageSize - size));
  leave_if(Condition::above, site);
  out_.with_indexed_field(0x03, kAddress, fields_.page(mode_, reach));  // add
}

/// To the slow path, which does the whole instruction. The flags must have been saved.
void BlockTranslator::leave_if(Condition condition, const Site& site) {
  CHECK(saved_flags_);
  cold_.push_back({out_.jump_if(condition), site.number, std::nullopt});
}

/// The calls of the slow path since `first_cold` come back here.
void BlockTranslator::end_of_slow(size_t first_cold) {
  for (size_t i = first_cold; i < cold_.size(); ++i) cold_[i].back = out_.here();
}

void BlockTranslator::load_slow_point(const Site& site) {
  out_.constant(kScratch, shared_.points.size());
  auto behind = static_cast<uint32_t>(sites_.size() - site.number);
  shared_.points.push_back({site.insn, site.rip, behind, site.lazy_flags.value_or(kLazyUnknown), !site.lazy_flags});
}

/// Comes back with the flags in both places.
void BlockTranslator::call_slow(const Site& site) {
  save_flags();
  load_slow_point(site);
  out_.call(shared_.slow);
  host_flags_ = saved_flags_ = true;
}

}  // namespace dejavm::soft
