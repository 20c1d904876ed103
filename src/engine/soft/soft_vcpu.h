// A vCPU in software: runs guests without /dev/kvm, and knows every instruction's place (docs/soft-engine.md).
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "vm/cpu_model.h"
#include "vm/guest_memory.h"
#include "vm/vcpu.h"

namespace dejavm::soft {

/// How instructions run. Nothing but the speed differs.
enum class Execution : uint8_t {
  translate,          ///< as host code, where that is possible
  translate_at_once,  ///< the same, also what runs only once: for tests
  interpret,          ///< one after the other: for comparison
};

class ExecutablePool;

/// Borrows the memory and keeps a copy of the model. `pool` (executable_pool.h): where the memory for generated code comes
/// from; null: from the host. `steps`: what it counts on from, where it takes over from another vCPU; RDTSC and RDRAND show
/// the count, which is no part of vm::CpuState. Fails where the host is no x86-64 with SSE2, or has no memory that can be
/// executed.
Result<std::unique_ptr<vm::Vcpu>> create_vcpu(vm::GuestMemory& memory, const vm::CpuModel& model,
                                              Execution execution = Execution::translate, ExecutablePool* pool = nullptr,
                                              uint64_t steps = 0);

}  // namespace dejavm::soft
