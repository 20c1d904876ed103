#include "engine/soft/availability.h"

namespace dejavm::soft {
namespace {

/// Instructions that share an instruction set with others and have a CPUID bit of their own.
bool mnemonic_is_available(const ZydisDecodedInstruction& insn, const Features& features) {
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_RDTSC:
      return true;  // whatever CPUID says, as on KVM: 64-bit kernels read it for entropy without asking
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_SYSEXIT:
      return features.sysenter;
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSRET:
      return features.syscall;
    case ZYDIS_MNEMONIC_SWAPGS:
      return insn.machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
    case ZYDIS_MNEMONIC_RSM:  // outside of system management mode
      return false;
    default:
      return true;
  }
}

/// TCG knows the prefetches (0F 0D, 0F 18) of memory only; to AMD's CPUs those of a register do nothing.
bool prefetches_register(const ZydisDecodedInstruction& insn) {
  if (insn.opcode_map != ZYDIS_OPCODE_MAP_0F || insn.raw.modrm.mod != 3) return false;
  return insn.opcode == 0x0d || (insn.opcode == 0x18 && insn.raw.modrm.reg < 4);
}

/// The sets that every CPU of ours has: x86-64's baseline with x87, MMX, SSE and SSE2, and the prefetches, which AMD CPUs
/// with long mode have whatever CPUID says about 3DNow! (AMD64 APM volume 3, PREFETCH).
bool is_baseline(ZydisISASet set) {
  switch (set) {
    case ZYDIS_ISA_SET_I86:
    case ZYDIS_ISA_SET_I186:
    case ZYDIS_ISA_SET_I286PROTECTED:
    case ZYDIS_ISA_SET_I286REAL:
    case ZYDIS_ISA_SET_I386:
    case ZYDIS_ISA_SET_I486:
    case ZYDIS_ISA_SET_I486REAL:
    case ZYDIS_ISA_SET_PENTIUMREAL:
    case ZYDIS_ISA_SET_PENTIUMMMX:
    case ZYDIS_ISA_SET_PPRO:
    case ZYDIS_ISA_SET_AMD:
    case ZYDIS_ISA_SET_CMOV:
    case ZYDIS_ISA_SET_FCMOV:
    case ZYDIS_ISA_SET_FAT_NOP:
    case ZYDIS_ISA_SET_PREFETCH_NOP:
    case ZYDIS_ISA_SET_PREFETCHWT1:  // to AMD CPUs one more spelling of PREFETCHW
    case ZYDIS_ISA_SET_SSE_PREFETCH:
    case ZYDIS_ISA_SET_PAUSE:
    case ZYDIS_ISA_SET_RDPMC:
    case ZYDIS_ISA_SET_LONGMODE:
    case ZYDIS_ISA_SET_X87:
    case ZYDIS_ISA_SET_FXSAVE:
    case ZYDIS_ISA_SET_FXSAVE64:
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSEMXCSR:
    case ZYDIS_ISA_SET_SSE2:
    case ZYDIS_ISA_SET_SSE2MMX:
      return true;
    default:
      return false;
  }
}

/// The sets that CPUID tells of.
bool is_advertised(const ZydisDecodedInstruction& insn, const Features& features) {
  switch (insn.meta.isa_set) {
    case ZYDIS_ISA_SET_SSE3:
    case ZYDIS_ISA_SET_SSE3X87:
      return features.sse3;
    case ZYDIS_ISA_SET_SSSE3:
    case ZYDIS_ISA_SET_SSSE3MMX:
      return features.ssse3;
    case ZYDIS_ISA_SET_SSE4:
      return features.sse41;
    case ZYDIS_ISA_SET_SSE42:
      return features.sse42;
    case ZYDIS_ISA_SET_SSE4A:
      return features.sse4a;
    case ZYDIS_ISA_SET_AES:
      return features.aes;
    case ZYDIS_ISA_SET_PCLMULQDQ:
      return features.pclmul;
    case ZYDIS_ISA_SET_SHA:
      return features.sha;
    case ZYDIS_ISA_SET_POPCNT:
      return features.popcnt;
    case ZYDIS_ISA_SET_LZCNT:
      return features.lzcnt;
    case ZYDIS_ISA_SET_CMPXCHG16B:
      return features.cx16;
    case ZYDIS_ISA_SET_MOVBE:
      return features.movbe;
    case ZYDIS_ISA_SET_LAHF:
      return insn.machine_mode != ZYDIS_MACHINE_MODE_LONG_64 || features.lahf64;
    case ZYDIS_ISA_SET_RDRAND:
      return features.rdrand;
    case ZYDIS_ISA_SET_RDSEED:
      return features.rdseed;
    case ZYDIS_ISA_SET_RDTSCP:
      return features.rdtscp;
    case ZYDIS_ISA_SET_RDWRFSGS:
      return features.fsgsbase;
    case ZYDIS_ISA_SET_SMAP:
      return features.smap;
    case ZYDIS_ISA_SET_CLFSH:
      return features.clflush;
    case ZYDIS_ISA_SET_MONITOR:
      return features.monitor;
    case ZYDIS_ISA_SET_BMI1:
      return features.bmi1 || (insn.mnemonic == ZYDIS_MNEMONIC_TZCNT && features.tzcnt);
    case ZYDIS_ISA_SET_BMI2:
      return features.bmi2;
    case ZYDIS_ISA_SET_ADOX_ADCX:
      return features.adx;
    case ZYDIS_ISA_SET_XSAVE:
    case ZYDIS_ISA_SET_XSAVEC:
    case ZYDIS_ISA_SET_XSAVEOPT:
    case ZYDIS_ISA_SET_XSAVES:
      return features.xsave;
    default:
      // What is left with a VEX prefix is AVX and what came with it; what is left without one is no part of any model.
      return insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && features.avx;
  }
}

}  // namespace

bool is_available(const ZydisDecodedInstruction& insn, const Features& features) {
  if (!mnemonic_is_available(insn, features)) return false;
  if (features.tcg && prefetches_register(insn)) return false;
  if (insn.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && is_baseline(insn.meta.isa_set)) return true;
  return is_advertised(insn, features);
}

}  // namespace dejavm::soft
