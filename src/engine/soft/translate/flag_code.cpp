// Status flags between the host's flags and kFlags.
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

/// Whether the flags that it leaves are those of the CPU model, or nobody looks at them.
bool BlockTranslator::flags_are_known(const Site& site, const FlagEffect& effect) const {
  switch (effect.undefined) {
    case FlagEffect::Undefined::half_carry:
      return trusted_flags_.half_carry || !site.flags_live;
    case FlagEffect::Undefined::others:
      return trusted_flags_.others || !site.flags_live;
    default:
      return true;
  }
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
