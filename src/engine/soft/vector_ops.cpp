// SSE and MMX instructions by stub.
#include <cpuid.h>

#include <bit>
#include <cstring>

#include "engine/soft/fault.h"
#include "engine/soft/flags.h"
#include "engine/soft/native_ops.h"
#include "engine/soft/operands.h"

namespace dejavm::soft {
namespace {

// MXCSR (AMD64 APM volume 1, section 4.2.2).
constexpr uint32_t kInvalid = 1, kDenormal = 2, kZeroDivide = 4, kUnderflow = 16, kSignals = 0x3f;
constexpr uint32_t kBeforeResult = kInvalid | kDenormal | kZeroDivide;
constexpr uint32_t kAllMasks = 0x1f80, kFlushToZero = 1 << 15;

template <typename T>
bool is_tiny(const uint8_t* from) {
  T bits;
  std::memcpy(&bits, from, sizeof bits);
  constexpr T kFraction = sizeof(T) == 4 ? T{0x7fffff} : static_cast<T>(0xfffffffffffff);
  constexpr T kExponent = (~T{0} >> 1) & ~kFraction;
  return (bits & kExponent) == 0 && (bits & kFraction) != 0;
}

/// A tiny result that is exact signals underflow only where underflow is unmasked, and the stub runs with it masked.
bool result_is_tiny(const NativeFrame& frame, uint16_t use) {
  unsigned size = (use & kSingleResult) != 0 ? 4 : 8;
  unsigned lanes = (use & kScalarResult) != 0 ? 1 : 16 / size;
  for (unsigned i = 0; i < lanes; ++i) {
    if (size == 4 ? is_tiny<uint32_t>(frame.first + 4 * i) : is_tiny<uint64_t>(frame.first + 8 * i)) return true;
  }
  return false;
}

uint32_t mxcsr_for_stub(const Core& core) {
  uint32_t guest = core.cpu.fpu.mxcsr, masked = (guest & ~kSignals) | kAllMasks;
  bool underflow_unmasked = (guest & kUnderflow << 7) == 0 && !core.features.tcg;
  return underflow_unmasked ? masked & ~kFlushToZero : masked;  // flushing needs the mask
}

/// Takes over what the instruction signalled; raises what of it the guest has unmasked.
void take_signals(Core& core, const NativeFrame& frame, uint16_t use) {
  uint32_t& mxcsr = core.cpu.fpu.mxcsr;
  uint32_t signals = frame.mxcsr & (core.features.tcg ? kSignals & ~kDenormal : kSignals);
  uint32_t unmasked = core.features.tcg ? 0 : ~(mxcsr >> 7) & kSignals;
  if ((unmasked & kUnderflow) != 0 && (use & (kSingleResult | kDoubleResult)) != 0 && result_is_tiny(frame, use)) {
    signals |= kUnderflow;
  }
  if ((signals & unmasked) == 0) {
    mxcsr |= signals;
    return;
  }
  // An overflow or underflow that faults keeps the inexact flag of the masked one: the hardware clears it where the result
  // would have been exact with a wider exponent.
  // One of these stops the instruction before there is a result that could overflow, underflow or be inexact.
  if ((signals & unmasked & kBeforeResult) != 0) signals &= kBeforeResult;
  mxcsr |= signals;
  raise((core.cpu.cr4 & kCr4Osxmmexcpt) != 0 ? kSimdFault : kInvalidOpcode);
}

/// Of and to MMX registers.
bool converts_mmx(uint16_t mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_CVTPI2PS:
    case ZYDIS_MNEMONIC_CVTPI2PD:
    case ZYDIS_MNEMONIC_CVTPS2PI:
    case ZYDIS_MNEMONIC_CVTPD2PI:
    case ZYDIS_MNEMONIC_CVTTPS2PI:
    case ZYDIS_MNEMONIC_CVTTPD2PI:
    case ZYDIS_MNEMONIC_MOVQ2DQ:
    case ZYDIS_MNEMONIC_MOVDQ2Q:
      return true;
    default:
      return false;
  }
}

void require_usable(const Core& core, const Instruction& insn) {
  uint16_t use = insn.selector;
  if (core.features.tcg && converts_mmx(insn.mnemonic)) return require_mmx(core);
  constexpr uint16_t kFirst = kUsesFirst | kFirstIsMmx, kSecond = kUsesSecond | kSecondIsMmx;
  bool uses_xmm = (use & kFirst) == kUsesFirst || (use & kSecond) == kUsesSecond;
  if (uses_xmm || (use & kUsesMmx) == 0) require_sse(core);  // CVTTSD2SI from memory has no XMM operand either
  if ((use & kUsesMmx) != 0) require_mmx(core);
}

void load_vector(vm::Fpu& fpu, uint8_t number, bool mmx, uint8_t* to) {
  if (mmx) {
    std::memcpy(to, physical_register(fpu, number), 8);
  } else {
    std::memcpy(to, fpu.xmm[number].data(), 16);
  }
}

void load_operands(Core& core, const Instruction& insn, uint16_t use, NativeFrame& frame) {
  vm::Fpu& fpu = core.cpu.fpu;
  if ((use & kUsesFirst) != 0) load_vector(fpu, insn.reg, (use & kFirstIsMmx) != 0, frame.first);
  if ((use & kUsesSecond) != 0) load_vector(fpu, insn.other, (use & kSecondIsMmx) != 0, frame.second);
  if ((use & kUsesZero) != 0) load_vector(fpu, 0, false, frame.zero);
  if ((use & kUsesGeneral) != 0) frame.general = core.cpu.gpr[insn.condition];
  if ((use & kUsesMxcsr) != 0) frame.mxcsr = mxcsr_for_stub(core);
}

void store_results(Core& core, const Instruction& insn, uint16_t use, const NativeFrame& frame) {
  vm::Fpu& fpu = core.cpu.fpu;
  if ((use & kWritesFirst) != 0) {
    if ((use & kFirstIsMmx) != 0) {
      write_mmx(core, insn.reg, frame.first);
      if (core.features.tcg && insn.mnemonic == ZYDIS_MNEMONIC_MOVDQ2Q) std::memset(fpu.st[insn.reg].data() + 8, 0, 2);
    } else {
      std::memcpy(fpu.xmm[insn.reg].data(), frame.first, 16);
    }
  }
  if ((use & kWritesGeneral) != 0) core.cpu.gpr[insn.condition] = frame.general;
  if ((use & kWritesFlags) != 0) core.cpu.rflags = (core.cpu.rflags & ~kStatusFlags) | (frame.flags & kStatusFlags);
}

/// AMD's CPUs do not where the operand is in memory.
bool enters_mmx_on_tcg(const Core& core, const Instruction& insn) {
  return core.features.tcg && (insn.mnemonic == ZYDIS_MNEMONIC_CVTPI2PS || insn.mnemonic == ZYDIS_MNEMONIC_CVTPI2PD);
}

/// TCG reads a whole register's worth of which it takes half.
bool reads_twice_as_much_on_tcg(const Instruction& insn) {
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_CVTDQ2PD:
      return true;
    case ZYDIS_MNEMONIC_PUNPCKLBW:
    case ZYDIS_MNEMONIC_PUNPCKLWD:
    case ZYDIS_MNEMONIC_PUNPCKLDQ:
      return insn.memory_size == 4;  // of MMX registers
    default:
      return false;
  }
}

void run_vector(Core& core, const Instruction& insn) {
  uint16_t use = insn.selector;
  require_usable(core, insn);
  NativeFrame frame;
  uint64_t address = 0;
  if (core.features.tcg && (use & kUsesMmx) != 0 && (use & kUsesMxcsr) == 0) enter_mmx(core.cpu.fpu);
  if (insn.has_memory) {
    address = effective_address(core, insn, insn.memory_size, insn.memory_is_destination);
    if ((use & kAlignedMemory) != 0 && address % 16 != 0) raise_gp();
    if (core.features.tcg && reads_twice_as_much_on_tcg(insn)) core.memory.probe_read(address, 2 * insn.memory_size);
    if (!insn.memory_is_destination) read_vector(core, address, frame.memory, insn.memory_size);
  }
  load_operands(core, insn, use, frame);
  insn.native(&frame);
  if (insn.has_memory && insn.memory_is_destination) write_vector(core, address, frame.memory, insn.memory_size);
  if ((use & kUsesMmx) != 0 || enters_mmx_on_tcg(core, insn)) enter_mmx(core.cpu.fpu);  // also where a signal then faults
  if ((use & kUsesMxcsr) != 0) take_signals(core, frame, use);
  store_results(core, insn, use, frame);
}

/// clang 14 has no name for it (CPUID 7, AMD64 APM volume 3, appendix E).
bool has_sha() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx >> 29 & 1) != 0;
}

/// The host's own CPUID: it may be another CPU than the guest's model.
bool host_has(ZydisISASet set) {
  switch (set) {
    case ZYDIS_ISA_SET_SSE3:
      return __builtin_cpu_supports("sse3") != 0;
    case ZYDIS_ISA_SET_SSSE3:
    case ZYDIS_ISA_SET_SSSE3MMX:
      return __builtin_cpu_supports("ssse3") != 0;
    case ZYDIS_ISA_SET_SSE4:
      return __builtin_cpu_supports("sse4.1") != 0;
    case ZYDIS_ISA_SET_SSE42:
      return __builtin_cpu_supports("sse4.2") != 0;
    case ZYDIS_ISA_SET_SSE4A:
      return __builtin_cpu_supports("sse4a") != 0;
    case ZYDIS_ISA_SET_AES:
      return __builtin_cpu_supports("aes") != 0;
    case ZYDIS_ISA_SET_PCLMULQDQ:
      return __builtin_cpu_supports("pclmul") != 0;
    case ZYDIS_ISA_SET_SHA:
      return has_sha();
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSE2:
    case ZYDIS_ISA_SET_SSE2MMX:
    case ZYDIS_ISA_SET_PENTIUMMMX:
      return true;
    default:
      return false;
  }
}

/// Adds a register operand to `use`; false when the stub has no place for it.
bool add_register(const ZydisDecodedOperand& operand, Instruction& insn, uint16_t& use) {
  bool written = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  uint8_t vector = vector_register(operand.reg.value);
  unsigned added = 0;
  if (vector == kNoRegister) {
    uint8_t general = general_register(operand.reg.value);
    if (general >= kHighByte || (use & kUsesGeneral) != 0) return false;
    insn.condition = general;
    added = kUsesGeneral | (written ? kWritesGeneral : 0);
  } else if ((use & kUsesFirst) == 0) {
    insn.reg = vector;
    added = kUsesFirst | (written ? kWritesFirst : 0) | (is_mmx(operand.reg.value) ? kFirstIsMmx : 0);
  } else {
    if ((use & kUsesSecond) != 0 || written) return false;
    insn.other = vector;
    added = kUsesSecond | (is_mmx(operand.reg.value) ? kSecondIsMmx : 0);
  }
  use = static_cast<uint16_t>(use | added);
  return true;
}

}  // namespace

bool bind_vector(const Decoded& decoded, NativeArena& arena, Instruction& insn) {
  std::optional<uint16_t> known = vector_use(decoded.insn.mnemonic);
  if (!known || decoded.insn.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || !host_has(decoded.insn.meta.isa_set))
    return false;
  uint16_t use = *known;
  insn.reg = insn.other = kNoRegister;
  insn.condition = 0;
  for (int i = 0; i < decoded.insn.operand_count_visible; ++i) {
    if (decoded.is_register(i) && !add_register(decoded.operands[i], insn, use)) return false;
  }
  if (insn.has_memory && (insn.memory_size == 0 || insn.memory_size > 16)) return false;
  bool anywhere = decoded.features.tcg && takes_any_address_on_tcg(decoded.insn.mnemonic);
  if (insn.has_memory && insn.memory_size == 16 && !anywhere) use |= kAlignedMemory;
  insn.native = make_vector_stub(decoded, use, arena);
  if (insn.native == nullptr) return false;
  insn.selector = use;
  insn.run = run_vector;
  return true;
}

}  // namespace dejavm::soft
