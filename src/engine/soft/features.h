// Which instruction sets the guest's CPU has, from its CPUID table.
#pragma once

#include "vm/cpu_model.h"

namespace dejavm::soft {

/// True: the instructions exist. False: they are #UD, as CPUID tells the guest (CPUID 1 and 0x80000001, AMD64 APM volume 3,
/// appendix E); TZCNT and LZCNT exist where the model says so, too. What the table shows but the engine does not have (AVX,
/// XSAVE, ...) is not here: the decoder names it.
struct Features {
  bool sse3 = false, ssse3 = false, sse41 = false, sse42 = false, sse4a = false, popcnt = false, lzcnt = false, cx16 = false,
       movbe = false, rdrand = false, rdseed = false, tsc = false, rdtscp = false, lahf64 = false, smep = false,
       smap = false, fsgsbase = false, pcid = false, umip = false, nx = false, syscall = false, page1gb = false,
       clflush = false, monitor = false, sysenter = false, bmi1 = false, tzcnt = false, bmi2 = false, adx = false,
       pclmul = false, aes = false, sha = false, xsave = false, avx = false;
  unsigned physical_bits = 40;
  bool scans_keep_flags = false;  ///< vm::CpuKind::amd_zen3
  bool tcg = false;               ///< vm::CpuKind::tcg: flags and more as QEMU's TCG has them (tcg_flags.h)

  static Features of(const vm::CpuModel& model);
};

}  // namespace dejavm::soft
