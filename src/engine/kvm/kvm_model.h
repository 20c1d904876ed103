// The CPU model, given to a KVM vCPU: CPUID, and which MSRs the guest may touch without an exit.
#pragma once

#include <vector>

#include "base/result.h"
#include "engine/kvm/kvm_system.h"
#include "vm/cpu_model.h"

namespace dejavm::kvm {

/// Sets exactly the model's CPUID table; before the first run.
Status set_cpuid(int vcpu_fd, const vm::CpuModel& model);
/// The table as KVM keeps it: a host may force bits and add leaves (kvm_pvm forces leaf 1 ECX and EDX).
Result<std::vector<vm::CpuidLeaf>> read_cpuid(int vcpu_fd);

/// MSRs outside vm::kStateMsrs exit to userspace; before the vCPU exists or runs.
Status filter_msrs(int vm_fd);
/// Whether a WRMSR that KVM hands out is one that it refused: of a state MSR, or of the x2APIC's, which we have none of.
bool takes_no_write(uint32_t msr);

}  // namespace dejavm::kvm
