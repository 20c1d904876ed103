// Status flags between the host's flags and kFlags.
#include "engine/soft/flags.h"
#include "engine/soft/translate/block_translator.h"

namespace dejavm::soft {

// LAHF and SETO need AL and AH, which hold the guest's: RAX is put by. MOV and XCHG change no flags.

void BlockTranslator::save_flags() {
  if (saved_flags_) return;
  CHECK(host_flags_);
  out_.move(kScratch, Host::rax);
  out_.byte(0x9f);                 // lahf
  out_.bytes({0x0f, 0x90, 0xc0});  // seto al
  out_.move(kFlags, Host::rax);
  out_.move(Host::rax, kScratch);
  saved_flags_ = true;
}

void BlockTranslator::restore_flags() {
  if (host_flags_) return;
  CHECK(saved_flags_);
  restore_flags(out_);
  host_flags_ = true;
}

void BlockTranslator::restore_flags(Emitter& out) {
  out.move(kScratch, Host::rax);
  out.move(Host::rax, kFlags);
  out.bytes({0x04, 0x7f});  // add al, 0x7f: overflows if AL is 1
  out.byte(0x9e);           // sahf: keeps OF
  out.move(Host::rax, kScratch);
}

/// Before an instruction of this effect: gives the host's flags what it reads, and what it keeps and somebody may look at.
void BlockTranslator::need_flags(const Site& site, const FlagEffect& effect) {
  bool keeps = effect.writes == FlagEffect::Writes::some && site.flags_live;
  bool keeps_other = keeps && !effect.keeps_carry_only;
  if (effect.reads == FlagEffect::Reads::any || keeps_other) return restore_flags();
  if ((effect.reads == FlagEffect::Reads::none && !keeps) || host_flags_) return;
  out_.bytes({0x41, 0x0f, 0xba, 0xe1, 8});  // bt flags, 8: CF, where LAHF puts it
}

/// CLI. That an interrupt can no longer enter is nothing to look up for.
bool BlockTranslator::emit_clear_interrupts(const Site& site) {
  size_t first_cold = cold_.size();
  destroy_flags();
  out_.with_field({0x80}, 7, fields_.cli_blocked(), false);  // cmp byte, 0
  out_.byte(0);
  leave_if(Condition::not_equal, site);
  out_.with_field({0x81}, 4, fields_.rflags(), false);  // and (32 bits)
  out_.word(static_cast<uint32_t>(~kIf));
  end_of_slow(first_cold);
  return true;
}

/// PUSHFQ of 64-bit code: what RFLAGS and kFlags have of it comes together in memory, which nobody else sees meanwhile.
bool BlockTranslator::emit_push_flags(const Site& site) {
  if (!mode_.wide || (site.decoded.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) != 0) return false;
  size_t first_cold = cold_.size();
  auto size = static_cast<int32_t>(word_size());
  emit_stack_address(size);
  emit_lookup(site, Reach::write, word_size());
  auto or_at_address = [this] { out_.bytes({0x4d, 0x09, 0x1a}); };  // or [address], scratch
  out_.move(kScratch, kFlags);
  out_.bytes({0x41, 0xc1, 0xeb, 8});  // shr scratch, 8 (32 bits): as LAHF has them
  out_.bytes({0x41, 0x81, 0xe3});     // and scratch
  out_.word(static_cast<uint32_t>(kStatusFlags & ~kOf));
  store_at_address(kScratch);
  out_.move(kScratch, kFlags);
  out_.bytes({0x41, 0x83, 0xe3, 1});   // and scratch, 1
  out_.bytes({0x41, 0xc1, 0xe3, 11});  // shl scratch, 11: OF
  or_at_address();
  out_.load(kScratch, fields_.rflags());
  out_.bytes({0x49, 0x81, 0xe3});  // and scratch
  out_.word(static_cast<uint32_t>(~(kStatusFlags | kRf | kVm)));
  or_at_address();
  move_stack(-size);
  end_of_slow(first_cold);
  return true;
}

/// Whether the flags that it leaves are those of the CPU model, or nobody looks at them.
bool BlockTranslator::flags_are_known(const Site& site, const FlagEffect& effect) const {
  if (depends_on_lazy_flags(site)) return false;
  switch (effect.undefined) {
    case FlagEffect::Undefined::half_carry:
      return trusted_flags_.half_carry || !site.flags_live;
    case FlagEffect::Undefined::others:
      return trusted_flags_.others || !site.flags_live;
    case FlagEffect::Undefined::scan:
      return trusted_flags_.scans || !site.flags_live;
    default:
      return true;
  }
}

/// Where the state at the block's start tells, the slow path runs the instruction and knows it.
bool BlockTranslator::depends_on_lazy_flags(const Site& site) const {
  LazyEffect effect = site.insn->lazy_effect;
  return core_.features.tcg && !site.lazy_flags && (effect == LazyEffect::forgets_result || effect == LazyEffect::tests_bit);
}

void BlockTranslator::find_lazy_flags() {
  std::optional<LazyFlags> flags;
  for (Site& site : sites_) {
    site.lazy_flags = flags;
    LazyEffect effect = site.insn->lazy_effect;
    if (flags || !(effect == LazyEffect::keeps || depends_on_lazy_flags(site))) flags = after(effect, flags.value_or(0));
  }
}

/// Behind `site`, which is the last one: to the frame. Changes no host flag.
void BlockTranslator::emit_lazy_flags(const Site& site) {
  bool ends =
      (site.rip + site.insn->length) % vm::kPageSize == 0 || site.rip / vm::kPageSize != (site.behind - 1) / vm::kPageSize;
  std::optional<LazyFlags> flags = site.lazy_flags;
  LazyEffect effect = site.insn->lazy_effect;
  if (ends || effect == LazyEffect::forgets) {
    flags = kLazyUnknown;
  } else if (flags || effect >= LazyEffect::sets) {
    flags = after(effect, flags.value_or(0));
  }
  if (!flags) return;
  out_.with_field({0xc6}, 0, fields_.lazy_flags(), false);  // mov byte
  out_.byte(*flags);
}

/// From the end: whether somebody may see the flags that each instruction leaves. Whatever is not a known instruction on
/// registers alone may show them to the slow path.
void BlockTranslator::find_live_flags() {
  bool live = true;
  for (size_t i = sites_.size(); i-- > 0;) {
    Site& site = sites_[i];
    site.flags_live = live;
    if (does_nothing(site) || site.decoded.mnemonic == ZYDIS_MNEMONIC_LEA) continue;
    bool may_fault = site.insn->has_memory || site.decoded.mnemonic == ZYDIS_MNEMONIC_DIV;
    bool plain = site.effect && !may_fault;
    if (!plain || site.effect->reads != FlagEffect::Reads::none) {
      live = true;
    } else if (site.effect->writes == FlagEffect::Writes::all) {
      live = false;
    }
  }
}

}  // namespace dejavm::soft
