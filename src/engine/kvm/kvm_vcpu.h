// The KVM engine: a vm::Vcpu on /dev/kvm.
#pragma once

#include <memory>

#include "base/result.h"
#include "engine/kvm/kvm_host.h"
#include "vm/cpu_model.h"
#include "vm/guest_memory.h"
#include "vm/vcpu.h"

namespace dejavm::kvm {

/// Creates a VM with one vCPU in vm::reset_state(). `host` and `memory` are borrowed and must outlive it; one vCPU a memory.
/// The vCPU is one thread's at a time; only kick() may come from elsewhere.
Result<std::unique_ptr<vm::Vcpu>> create_vcpu(const KvmHost& host, vm::GuestMemory& memory, const vm::CpuModel& model);

/// The model as a guest on this host really sees it. Equal to `model` where the host respects CPUID tables; else the table
/// to store in a trace, and a reason to call it bound to this kind of host.
Result<vm::CpuModel> effective_model(const KvmSystem& system, const vm::CpuModel& model);
/// The same with what the probe found of the CPU's undefined results.
Result<vm::CpuModel> effective_model(const KvmHost& host, const vm::CpuModel& model);

/// create_vcpu() with abilities that are assumed rather than found: for the probe, which tries them.
Result<std::unique_ptr<vm::Vcpu>> create_vcpu(const KvmSystem& system, const ProbeResult& assumed, vm::GuestMemory& memory,
                                              const vm::CpuModel& model);

}  // namespace dejavm::kvm
