// The host's KVM as dejavm uses it: opened once, probed once.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "engine/kvm/kvm_state.h"
#include "engine/kvm/kvm_system.h"
#include "vm/cpu_model.h"
#include "vm/vcpu.h"

namespace dejavm::kvm {

/// What tiny guests showed: see probe() in kvm_probe.h.
struct ProbeResult {
  vm::VcpuCapabilities capabilities;
  KvmQuirks quirks;
  vm::CpuKind cpu_kind = vm::CpuKind::amd;  ///< whose undefined results a guest sees
  bool counts_zeros = false;                ///< vm::CpuModel::counts_zeros
  bool exact_cpuid = false;                 ///< a guest sees the CPUID table that it was given; see effective_model()
  bool runs_kernels = false;  ///< ring 0 has all instructions; false: it is interpreted by an emulator that lacks many
  bool steps_rep_by_element = false;  ///< a step over a rep string instruction is one iteration, as positions count
  bool debug_breakpoints = false;     ///< breakpoints are KVM's own; else HLT is planted for them (StepGuard)
};

/// Owns the device's descriptor and what the probe found. vCPUs borrow it.
class KvmHost {
 public:
  /// Opens the device, refuses one that lacks something, runs the probe (some milliseconds), installs the empty handler of
  /// the signal that kicks vCPUs.
  static Result<std::unique_ptr<KvmHost>> open(const std::string& path = "/dev/kvm");

  KvmHost(KvmSystem system, ProbeResult found) : system_(std::move(system)), found_(std::move(found)) {}

  const KvmSystem& system() const { return system_; }
  const ProbeResult& found() const { return found_; }
  const vm::VcpuCapabilities& capabilities() const { return found_.capabilities; }

 private:
  KvmSystem system_;
  ProbeResult found_;
};

}  // namespace dejavm::kvm
