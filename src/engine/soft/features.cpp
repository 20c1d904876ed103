#include "engine/soft/features.h"

namespace dejavm::soft {
namespace {

/// A leaf of the table; zeros where it has none.
vm::CpuidLeaf leaf(const vm::CpuModel& model, uint32_t function) {
  for (const vm::CpuidLeaf& entry : model.cpuid) {
    if (entry.function == function && (!entry.indexed || entry.index == 0)) return entry;
  }
  return {};
}

bool bit(uint32_t word, unsigned number) { return (word >> number & 1) != 0; }

void read_standard(const vm::CpuidLeaf& one, const vm::CpuidLeaf& seven, Features& features) {
  features.sse3 = bit(one.ecx, 0);
  features.pclmul = bit(one.ecx, 1);
  features.monitor = bit(one.ecx, 3);
  features.ssse3 = bit(one.ecx, 9);
  features.cx16 = bit(one.ecx, 13);
  features.pcid = bit(one.ecx, 17);
  features.sse41 = bit(one.ecx, 19);
  features.sse42 = bit(one.ecx, 20);
  features.movbe = bit(one.ecx, 22);
  features.popcnt = bit(one.ecx, 23);
  features.aes = bit(one.ecx, 25);
  features.xsave = bit(one.ecx, 26);
  features.avx = bit(one.ecx, 28);
  features.rdrand = bit(one.ecx, 30);
  features.tsc = bit(one.edx, 4);
  features.sysenter = bit(one.edx, 11);
  features.clflush = bit(one.edx, 19);
  features.fsgsbase = bit(seven.ebx, 0);
  features.bmi1 = bit(seven.ebx, 3);
  features.smep = bit(seven.ebx, 7);
  features.bmi2 = bit(seven.ebx, 8);
  features.rdseed = bit(seven.ebx, 18);
  features.adx = bit(seven.ebx, 19);
  features.smap = bit(seven.ebx, 20);
  features.sha = bit(seven.ebx, 29);
  features.umip = bit(seven.ecx, 2);
}

void read_extended(const vm::CpuidLeaf& one, Features& features) {
  features.lahf64 = bit(one.ecx, 0);
  features.lzcnt = bit(one.ecx, 5);
  features.sse4a = bit(one.ecx, 6);
  features.syscall = bit(one.edx, 11);
  features.nx = bit(one.edx, 20);
  features.page1gb = bit(one.edx, 26);
  features.rdtscp = bit(one.edx, 27);
}

}  // namespace

Features Features::of(const vm::CpuModel& model) {
  Features features;
  read_standard(leaf(model, 1), leaf(model, 7), features);
  read_extended(leaf(model, 0x80000001), features);
  features.tzcnt = features.bmi1 || model.counts_zeros;
  features.lzcnt |= model.counts_zeros;
  features.scans_keep_flags = model.kind == vm::CpuKind::amd_zen3;
  features.tcg = model.kind == vm::CpuKind::tcg;
  unsigned bits = leaf(model, 0x80000008).eax & 0xff;
  // A table comes from a trace, and widths outside the architecture's (AMD64 APM volume 2, section 5.1) would break masks.
  if (bits >= 32 && bits <= 52) features.physical_bits = bits;
  return features;
}

}  // namespace dejavm::soft
