// REP STOS and REP MOVS of 64-bit code: forwards, within one page of plain memory and within the steps that are left. All
// else, none at all included, is the slow path's, iteration by iteration.
#include "engine/soft/flags.h"
#include "engine/soft/translate/block_translator.h"
#include "vm/address.h"

namespace dejavm::soft {
namespace {

constexpr uint32_t kPage = vm::kPageSize;
constexpr unsigned kRep = 0xf3, kRexW = 0x48, kOperandSize = 0x66;

struct StringForm {
  bool moves = false;
  unsigned scale = 0;  // log2 of an element's bytes
};

std::optional<StringForm> form_of(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_STOSB:
      return StringForm{false, 0};
    case ZYDIS_MNEMONIC_STOSW:
      return StringForm{false, 1};
    case ZYDIS_MNEMONIC_STOSD:
      return StringForm{false, 2};
    case ZYDIS_MNEMONIC_STOSQ:
      return StringForm{false, 3};
    case ZYDIS_MNEMONIC_MOVSB:
      return StringForm{true, 0};
    case ZYDIS_MNEMONIC_MOVSW:
      return StringForm{true, 1};
    case ZYDIS_MNEMONIC_MOVSD:
      return StringForm{true, 2};
    case ZYDIS_MNEMONIC_MOVSQ:
      return StringForm{true, 3};
    default:
      return std::nullopt;
  }
}

}  // namespace

/// To the slow path unless 1 + the steps left are enough for RCX elements, going up.
void BlockTranslator::check_repetition(const Site& site) {
  destroy_flags();
  out_.with_field({0xf7}, 0, fields_.rflags(), false);  // test (32 bits)
  out_.word(static_cast<uint32_t>(kDf));
  leave_if(Condition::not_equal, site);
  out_.lea(kScratch, Host::rcx, std::nullopt, 0, -1, true);
  static_assert(kScratch == Host::r11 && kLeft == Host::r14);
  out_.bytes({0x4d, 0x39, 0xf3});  // cmp scratch, left
  leave_if(Condition::above, site);
  out_.bytes({0x49, 0x81, 0xfb});  // cmp scratch, elements of a page
  out_.word(kPage);
  leave_if(Condition::above_or_equal, site);
}

/// kAddress becomes the host address of RCX elements at the guest address in `pointer`.
void BlockTranslator::emit_string_lookup(const Site& site, Host pointer, Reach reach, unsigned scale) {
  out_.move(kAddress, pointer);
  emit_lookup(site, reach, 1u << scale);
  static_assert(kScratch == Host::r11 && kAddress == Host::r10);
  out_.bytes({0x45, 0x89, 0xd3, 0x41, 0x81, 0xe3});  // mov scratch, address; and scratch (32 bits): pages begin alike
  out_.word(kPage - 1);
  out_.lea(kScratch, kScratch, Host::rcx, scale, 0, true);
  out_.bytes({0x49, 0x81, 0xfb});  // cmp scratch
  out_.word(kPage);
  leave_if(Condition::above, site);
}

bool BlockTranslator::emit_repeated_string(const Site& site) {
  const Instruction& insn = *site.insn;
  auto form = form_of(site.decoded.mnemonic);
  bool is_string = form && site.decoded.meta.category == ZYDIS_CATEGORY_STRINGOP && insn.repeat == Repeat::rep;
  if (!is_string || !mode_.wide || insn.address_size != 8 || insn.segment >= vm::fs) return false;
  check_repetition(site);
  if (form->moves) {
    emit_string_lookup(site, Host::rsi, Reach::read, form->scale);
    out_.store(fields_.string_source(), kAddress);
  }
  emit_string_lookup(site, Host::rdi, Reach::write, form->scale);
  out_.bytes({0x49, 0x29, 0xce, 0x49, 0xff, 0xc6});  // sub left, rcx; inc left: one step is taken already
  if (form->moves) {
    out_.lea(kScratch, Host::rsi, Host::rcx, form->scale, 0, true);
    out_.store(fields_.string_end(), kScratch);
    out_.load(Host::rsi, fields_.string_source());
  }
  out_.lea(kScratch, Host::rdi, Host::rcx, form->scale, 0, true);
  out_.move(Host::rdi, kAddress);
  if (form->scale == 1) out_.byte(kOperandSize);
  out_.byte(kRep);
  if (form->scale == 3) out_.byte(kRexW);
  out_.byte((form->moves ? 0xa4u : 0xaau) | (form->scale == 0 ? 0u : 1u));
  out_.move(Host::rdi, kScratch);
  if (form->moves) out_.load(Host::rsi, fields_.string_end());
  emit_link(site.behind, std::nullopt);
  return true;
}

}  // namespace dejavm::soft
