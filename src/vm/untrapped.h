// Instructions whose answers are the host's own under KVM, which gives user space no exit for them (Linux,
// Documentation/virt/kvm/api.rst: no KVM_EXIT_* is theirs).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "vm/address.h"

namespace dejavm::vm {

enum class UntrappedKind : uint8_t { rdtsc, rdtscp, rdrand, rdseed };

/// "rdtsc" and so on.
const char* name(UntrappedKind kind);

inline constexpr size_t kUntrappedKinds = 4;

/// One of these in the guest's code, as it was when it came first.
struct UntrappedSite {
  GuestVirt at;
  uint8_t ring = 0;
  UntrappedKind kind = UntrappedKind::rdtsc;
  bool refused = false;  ///< #UD, for CPUID hides it; a CPU that has it may execute it all the same
  uint64_t steps = 0;    ///< Vcpu::steps() before it
  bool operator==(const UntrappedSite&) const = default;
};

/// How often a guest executed them, and the first places: what an engine that executes them itself knows. A value, so that a
/// checkpoint keeps it.
struct UntrappedReads {
  static constexpr size_t kMaxSites = 4;

  std::array<uint64_t, kUntrappedKinds> counts{};
  std::array<UntrappedSite, kMaxSites> sites{};  ///< `site_count` different addresses, in the order in which they came
  size_t site_count = 0;

  void note(const UntrappedSite& site);
  bool any() const { return site_count > 0; }
  bool operator==(const UntrappedReads&) const = default;
};

}  // namespace dejavm::vm
