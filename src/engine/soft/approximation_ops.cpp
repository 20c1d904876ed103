// RCPPS, RCPSS, RSQRTPS, RSQRTSS.
#include <immintrin.h>

#include <cstring>

#include "engine/soft/approximation.h"
#include "engine/soft/fault.h"
#include "engine/soft/native_ops.h"
#include "engine/soft/operands.h"

namespace dejavm::soft {
namespace {

/// The source's lanes, through `compute`, to the register.
template <typename Lane, size_t kLanes, typename Compute>
void map_lanes(Core& core, const Instruction& insn, Compute compute) {
  require_sse(core);
  Lane lanes[kLanes];
  if (insn.has_memory) {
    uint64_t address = effective_address(core, insn, sizeof lanes, false);
    if (kLanes == 4 && address % 16 != 0) raise_gp();
    read_vector(core, address, lanes, sizeof lanes);
  } else {
    std::memcpy(lanes, core.cpu.fpu.xmm[insn.other].data(), sizeof lanes);
  }
  compute(lanes);
  std::memcpy(core.cpu.fpu.xmm[insn.reg].data(), lanes, sizeof lanes);
}

template <uint32_t (*kFunction)(uint32_t), size_t kLanes>
void approximate(Core& core, const Instruction& insn) {
  map_lanes<uint32_t, kLanes>(core, insn, [](auto& lanes) {
    for (uint32_t& lane : lanes) lane = kFunction(lane);
  });
}

/// CpuKind::tcg divides, under the guest's MXCSR but without its flags.
template <bool kRoot, size_t kLanes>
void divide(Core& core, const Instruction& insn) {
  map_lanes<float, kLanes>(core, insn, [&core](auto& lanes) {
    constexpr uint32_t kAllMasks = 0x1f80;
    uint32_t host = _mm_getcsr();
    _mm_setcsr(core.cpu.fpu.mxcsr | kAllMasks);
    for (float& lane : lanes) {
      __m128 value = _mm_set_ss(lane);
      lane = _mm_cvtss_f32(_mm_div_ss(_mm_set_ss(1), kRoot ? _mm_sqrt_ss(value) : value));
    }
    _mm_setcsr(host);
  });
}

Handler handler_of(ZydisMnemonic mnemonic, bool tcg) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_RCPPS:
      return tcg ? divide<false, 4> : approximate<approximate_reciprocal, 4>;
    case ZYDIS_MNEMONIC_RCPSS:
      return tcg ? divide<false, 1> : approximate<approximate_reciprocal, 1>;
    case ZYDIS_MNEMONIC_RSQRTPS:
      return tcg ? divide<true, 4> : approximate<approximate_inverse_root, 4>;
    case ZYDIS_MNEMONIC_RSQRTSS:
      return tcg ? divide<true, 1> : approximate<approximate_inverse_root, 1>;
    default:
      return nullptr;
  }
}

}  // namespace

bool bind_approximation(const Decoded& decoded, Instruction& insn) {
  Handler handler = handler_of(decoded.insn.mnemonic, decoded.features.tcg);
  if (handler == nullptr) return false;
  insn.reg = vector_register(decoded.operands[0].reg.value);
  if (decoded.is_register(1)) insn.other = vector_register(decoded.operands[1].reg.value);
  insn.run = handler;
  return true;
}

}  // namespace dejavm::soft
