// The CPU that a guest sees: its CPUID table and its model-specific registers. Stored whole in every trace.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dejavm::vm {

/// One CPUID leaf (AMD64 APM volume 3, appendix E).
struct CpuidLeaf {
  uint32_t function = 0;
  uint32_t index = 0;  ///< ECX, where `indexed`
  bool indexed = false;
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  bool operator==(const CpuidLeaf&) const = default;
};

/// An MSR that is not part of CpuState: read as `value`, writes dropped. An MSR that is neither is #GP.
struct FixedMsr {
  uint32_t index = 0;
  uint64_t value = 0;
  bool operator==(const FixedMsr&) const = default;
};

/// Whose CPU: what the manuals leave undefined, and where an emulated CPU differs from them (docs/soft-engine.md).
enum class CpuKind : uint8_t {
  amd,       ///< AMD's Zen 4; also what is known of no other
  amd_zen3,  ///< as amd, but BSF and BSR keep flags
  tcg,       ///< QEMU's TCG, version 7.2
};

struct CpuModel {
  std::string name;
  std::vector<CpuidLeaf> cpuid;
  std::vector<FixedMsr> msrs;
  CpuKind kind = CpuKind::amd;
  /// BSF and BSR behind F3 are TZCNT and LZCNT whatever CPUID says, as on a CPU that has these and hides them from the
  /// guest.
  bool counts_zeros = false;
  bool operator==(const CpuModel&) const = default;

  std::optional<uint64_t> read_msr(uint32_t index) const;
};

/// "amd", "amd-zen3", "tcg".
std::string name(CpuKind kind);
std::optional<CpuKind> cpu_kind(const std::string& name);
/// Whether a guest of one soon sees something else on the other.
bool differs_much(CpuKind a, CpuKind b);

/// `dejavm64-v1`, the default on both engines: x86-64 with SSE2, CMPXCHG16B not, an xAPIC, no XSAVE or AVX, no TSC, RDRAND,
/// MTRR, MCE or paravirtual clocks. The same table on every host.
CpuModel dejavm64_v1();

/// The MSRs that are fields of CpuState; engines keep them themselves and guests access them without an exit.
inline constexpr uint32_t kStateMsrs[] = {0x174,      0x175,      0x176,      0x277,      0xc0000080, 0xc0000081,
                                          0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102};

}  // namespace dejavm::vm
