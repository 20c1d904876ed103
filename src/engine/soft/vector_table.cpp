#include <algorithm>

#include "engine/soft/native_ops.h"

namespace dejavm::soft {
namespace {

#define M(name) ZYDIS_MNEMONIC_##name

// Integer, logic and data movement: results depend on the operands alone.
constexpr ZydisMnemonic kPlain[] = {
    M(PACKSSDW),   M(PACKSSWB),  M(PACKUSWB),   M(PACKUSDW),  M(PADDB),           M(PADDW),
    M(PADDD),      M(PADDQ),     M(PADDSB),     M(PADDSW),    M(PADDUSB),         M(PADDUSW),
    M(PAND),       M(PANDN),     M(PAVGB),      M(PAVGW),     M(PCMPEQB),         M(PCMPEQW),
    M(PCMPEQD),    M(PCMPEQQ),   M(PCMPGTB),    M(PCMPGTW),   M(PCMPGTD),         M(PCMPGTQ),
    M(PEXTRB),     M(PEXTRW),    M(PEXTRD),     M(PEXTRQ),    M(PINSRB),          M(PINSRW),
    M(PINSRD),     M(PINSRQ),    M(PMADDWD),    M(PMADDUBSW), M(PMAXSB),          M(PMAXSW),
    M(PMAXSD),     M(PMAXUB),    M(PMAXUW),     M(PMAXUD),    M(PMINSB),          M(PMINSW),
    M(PMINSD),     M(PMINUB),    M(PMINUW),     M(PMINUD),    M(PMOVMSKB),        M(PMULHRSW),
    M(PMULHUW),    M(PMULHW),    M(PMULLW),     M(PMULLD),    M(PMULUDQ),         M(PMULDQ),
    M(POR),        M(PSADBW),    M(MPSADBW),    M(PSHUFB),    M(PSHUFD),          M(PSHUFHW),
    M(PSHUFLW),    M(PSHUFW),    M(PSIGNB),     M(PSIGNW),    M(PSIGND),          M(PSLLW),
    M(PSLLD),      M(PSLLQ),     M(PSLLDQ),     M(PSRAW),     M(PSRAD),           M(PSRLW),
    M(PSRLD),      M(PSRLQ),     M(PSRLDQ),     M(PSUBB),     M(PSUBW),           M(PSUBD),
    M(PSUBQ),      M(PSUBSB),    M(PSUBSW),     M(PSUBUSB),   M(PSUBUSW),         M(PUNPCKHBW),
    M(PUNPCKHWD),  M(PUNPCKHDQ), M(PUNPCKHQDQ), M(PUNPCKLBW), M(PUNPCKLWD),       M(PUNPCKLDQ),
    M(PUNPCKLQDQ), M(PXOR),      M(PABSB),      M(PABSW),     M(PABSD),           M(PALIGNR),
    M(PHADDW),     M(PHADDD),    M(PHADDSW),    M(PHSUBW),    M(PHSUBD),          M(PHSUBSW),
    M(PHMINPOSUW), M(PBLENDW),   M(PMOVSXBW),   M(PMOVSXBD),  M(PMOVSXBQ),        M(PMOVSXWD),
    M(PMOVSXWQ),   M(PMOVSXDQ),  M(PMOVZXBW),   M(PMOVZXBD),  M(PMOVZXBQ),        M(PMOVZXWD),
    M(PMOVZXWQ),   M(PMOVZXDQ),  M(ANDPS),      M(ANDPD),     M(ANDNPS),          M(ANDNPD),
    M(ORPS),       M(ORPD),      M(XORPS),      M(XORPD),     M(SHUFPS),          M(SHUFPD),
    M(UNPCKHPS),   M(UNPCKHPD),  M(UNPCKLPS),   M(UNPCKLPD),  M(MOVMSKPS),        M(MOVMSKPD),
    M(MOVSLDUP),   M(MOVSHDUP),  M(MOVDDUP),    M(MOVQ2DQ),   M(MOVDQ2Q),         M(BLENDPS),
    M(BLENDPD),    M(INSERTPS),  M(EXTRACTPS),  M(EXTRQ),     M(INSERTQ),         M(AESENC),
    M(AESENCLAST), M(AESDEC),    M(AESDECLAST), M(AESIMC),    M(AESKEYGENASSIST), M(PCLMULQDQ),
    M(SHA1MSG1),   M(SHA1MSG2),  M(SHA1NEXTE),  M(SHA1RNDS4), M(SHA256MSG1),      M(SHA256MSG2)};

// The same with XMM0 as an operand that is not spelt.
constexpr ZydisMnemonic kWithZero[] = {M(PBLENDVB), M(BLENDVPS), M(BLENDVPD), M(SHA256RNDS2)};

// Under MXCSR: rounding, denormals, exceptions; no result that can underflow.
constexpr ZydisMnemonic kRounding[] = {
    M(SQRTPS),    M(SQRTSS),    M(SQRTPD),    M(SQRTSD),    M(MINPS),     M(MINSS),     M(MINPD),    M(MINSD),
    M(MAXPS),     M(MAXSS),     M(MAXPD),     M(MAXSD),     M(CMPPS),     M(CMPSS),     M(CMPPD),    M(CMPSD),
    M(CVTPI2PS),  M(CVTPI2PD),  M(CVTPS2PI),  M(CVTPD2PI),  M(CVTTPS2PI), M(CVTTPD2PI), M(CVTSI2SS), M(CVTSI2SD),
    M(CVTSS2SI),  M(CVTSD2SI),  M(CVTTSS2SI), M(CVTTSD2SI), M(CVTDQ2PS),  M(CVTDQ2PD),  M(CVTPS2DQ), M(CVTPD2DQ),
    M(CVTTPS2DQ), M(CVTTPD2DQ), M(CVTSS2SD),  M(CVTPS2PD),  M(ROUNDPS),   M(ROUNDPD),   M(ROUNDSS),  M(ROUNDSD)};

constexpr ZydisMnemonic kSingles[] = {M(ADDPS),  M(SUBPS),  M(MULPS),    M(DIVPS), M(ADDSUBPS),
                                      M(HADDPS), M(HSUBPS), M(CVTPD2PS), M(DPPS)};
constexpr ZydisMnemonic kSingle[] = {M(ADDSS), M(SUBSS), M(MULSS), M(DIVSS), M(CVTSD2SS)};
constexpr ZydisMnemonic kDoubles[] = {M(ADDPD), M(SUBPD), M(MULPD), M(DIVPD), M(ADDSUBPD), M(HADDPD), M(HSUBPD), M(DPPD)};
constexpr ZydisMnemonic kDouble[] = {M(ADDSD), M(SUBSD), M(MULSD), M(DIVSD)};

// Measured in the lab (tests/lab/kvm_lab.sh).
constexpr ZydisMnemonic kUnalignedOnTcg[] = {
    M(UNPCKLPS),  M(UNPCKLPD),        M(UNPCKHPS),   M(UNPCKHPD),  M(ANDPS),      M(ANDPD),
    M(ANDNPS),    M(ANDNPD),          M(ORPS),       M(ORPD),      M(XORPS),      M(XORPD),
    M(SHUFPS),    M(SHUFPD),          M(CVTDQ2PS),   M(CVTPS2DQ),  M(CVTTPS2DQ),  M(CVTPD2PI),
    M(CVTTPD2PI), M(CVTPD2PS),        M(CVTPD2DQ),   M(CVTTPD2DQ), M(HADDPS),     M(HADDPD),
    M(HSUBPS),    M(HSUBPD),          M(ADDSUBPS),   M(ADDSUBPD),  M(PSRAW),      M(PSRAD),
    M(PSLLW),     M(PSLLD),           M(PSLLQ),      M(MOVSLDUP),  M(MOVSHDUP),   M(BLENDVPS),
    M(BLENDVPD),  M(PTEST),           M(PHMINPOSUW), M(ROUNDPS),   M(ROUNDPD),    M(DPPS),
    M(DPPD),      M(AESENC),          M(AESENCLAST), M(AESDEC),    M(AESDECLAST), M(AESIMC),
    M(PCLMULQDQ), M(AESKEYGENASSIST), M(BLENDPS),    M(BLENDPD)};

constexpr ZydisMnemonic kCompare[] = {M(COMISS), M(COMISD), M(UCOMISS), M(UCOMISD)};

#undef M

template <size_t N>
bool contains(const ZydisMnemonic (&list)[N], ZydisMnemonic mnemonic) {
  return std::ranges::find(list, mnemonic) != std::end(list);
}

constexpr uint16_t bits(unsigned value) { return static_cast<uint16_t>(value); }

}  // namespace

std::optional<uint16_t> vector_use(ZydisMnemonic mnemonic) {
  if (contains(kPlain, mnemonic)) return bits(0);
  if (contains(kWithZero, mnemonic)) return bits(kUsesZero);
  if (contains(kRounding, mnemonic)) return bits(kUsesMxcsr);
  if (contains(kSingles, mnemonic)) return bits(kUsesMxcsr | kSingleResult);
  if (contains(kSingle, mnemonic)) return bits(kUsesMxcsr | kSingleResult | kScalarResult);
  if (contains(kDoubles, mnemonic)) return bits(kUsesMxcsr | kDoubleResult);
  if (contains(kDouble, mnemonic)) return bits(kUsesMxcsr | kDoubleResult | kScalarResult);
  if (contains(kCompare, mnemonic)) return bits(kUsesMxcsr | kWritesFlags);
  if (mnemonic == ZYDIS_MNEMONIC_PTEST) return bits(kWritesFlags);
  return std::nullopt;
}

bool takes_any_address_on_tcg(ZydisMnemonic mnemonic) { return contains(kUnalignedOnTcg, mnemonic); }

}  // namespace dejavm::soft
