#include "vm/cpu_model.h"

#include <utility>

namespace dejavm::vm {
namespace {

constexpr std::pair<CpuKind, const char*> kKinds[] = {
    {CpuKind::amd, "amd"}, {CpuKind::amd_zen3, "amd-zen3"}, {CpuKind::tcg, "tcg"}};

// CPUID 1 EDX (also 0x80000001 EDX where marked there): FPU DE PSE MSR PAE CX8 APIC SEP PGE CMOV PAT PSE36 MMX FXSR SSE
// SSE2. Left out on purpose: VME TSC MCE MTRR MCA CLFLUSH.
constexpr uint32_t kFeatures = 1u << 0 | 1u << 2 | 1u << 3 | 1u << 5 | 1u << 6 | 1u << 8 | 1u << 9 | 1u << 11 | 1u << 13 |
                               1u << 15 | 1u << 16 | 1u << 17 | 1u << 23 | 1u << 24 | 1u << 25 | 1u << 26;
// 0x80000001 EDX: the bits that repeat leaf 1, SYSCALL, NX, long mode.
constexpr uint32_t kRepeated = kFeatures & 0x0183f3ff & ~(1u << 11);
constexpr uint32_t kExtended = kRepeated | 1u << 11 | 1u << 20 | 1u << 29;

constexpr uint32_t text4(const char* s) {
  return static_cast<uint32_t>(static_cast<uint8_t>(s[0])) | static_cast<uint32_t>(static_cast<uint8_t>(s[1])) << 8 |
         static_cast<uint32_t>(static_cast<uint8_t>(s[2])) << 16 | static_cast<uint32_t>(static_cast<uint8_t>(s[3])) << 24;
}

}  // namespace

std::optional<uint64_t> CpuModel::read_msr(uint32_t index) const {
  for (const FixedMsr& msr : msrs) {
    if (msr.index == index) return msr.value;
  }
  return std::nullopt;
}

std::string name(CpuKind kind) {
  for (const auto& [known, text] : kKinds) {
    if (known == kind) return text;
  }
  return "?";
}

std::optional<CpuKind> cpu_kind(const std::string& name) {
  for (const auto& [kind, text] : kKinds) {
    if (name == text) return kind;
  }
  return std::nullopt;
}

bool differs_much(CpuKind a, CpuKind b) { return (a == CpuKind::tcg) != (b == CpuKind::tcg); }

CpuModel dejavm64_v1() {
  CpuModel model;
  model.name = "dejavm64-v1";
  // Vendor and family follow QEMU's qemu64 on AMD: guests then expect SYSCALL in legacy mode and no Intel errata MSRs.
  const char* vendor = "AuthenticAMD";
  uint32_t ebx = text4(vendor), edx = text4(vendor + 4), ecx = text4(vendor + 8);
  model.cpuid = {
      {.function = 0, .eax = 1, .ebx = ebx, .ecx = ecx, .edx = edx},
      {.function = 1, .eax = 0x600, .ebx = 0, .ecx = 0, .edx = kFeatures},
      {.function = 0x80000000, .eax = 0x80000008, .ebx = ebx, .ecx = ecx, .edx = edx},
      {.function = 0x80000001, .eax = 0x600, .ebx = 0, .ecx = 1 /* LAHF in long mode */, .edx = kExtended},
      {.function = 0x80000002, .eax = text4("deja"), .ebx = text4("vm64"), .ecx = text4("-v1\0"), .edx = 0},
      {.function = 0x80000003},
      {.function = 0x80000004},
      {.function = 0x80000008, .eax = 0x3028},  // 40 physical, 48 virtual address bits
  };
  // Firmware and kernels probe these whatever CPUID says: platform, APIC base, microcode revision, MTRR capabilities (none)
  // and default type, misc-enable, AMD's HWCR and NB_CFG.
  model.msrs = {{0x17, 0},  {0x1b, 0xfee00900}, {0x8b, 0},       {0xfe, 0},
                {0x1a0, 1}, {0x2ff, 0},         {0xc0010015, 0}, {0xc001001f, 0}};
  return model;
}

}  // namespace dejavm::vm
