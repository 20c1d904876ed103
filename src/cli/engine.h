// Picks the engine that -accel names, or the one that fits.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "engine/kvm/kvm_host.h"
#include "engine/soft/executable_pool.h"
#include "trace/description.h"
#include "vm/cpu_model.h"
#include "vm/guest_memory.h"
#include "vm/vcpu.h"

namespace dejavm::cli {

/// An opened engine. It outlives the vCPUs that it makes. In the sandbox (sandbox.h) it makes as many at a time as it made
/// before.
class Engine {
 public:
  /// For a live guest. `accel`: kvm, soft or auto; auto takes KVM where the host has one that can run this guest.
  /// `is_kernel`: the guest is an operating system, which needs more of a CPU than firmware does.
  static Result<Engine> for_guest(const std::string& accel, bool is_kernel);
  /// For a replay. auto takes the engine that recorded it where that is here, else soft.
  static Result<Engine> for_replay(const std::string& accel, const trace::Description& recording);

  /// `steps`: what it counts on from, where it counts.
  Result<std::unique_ptr<vm::Vcpu>> create_vcpu(vm::GuestMemory& memory, const vm::CpuModel& model,
                                                uint64_t steps = 0) const;
  /// The model as a guest of this engine sees it: some hosts' KVM shows CPUID bits whatever it is told.
  Result<vm::CpuModel> effective_model(const vm::CpuModel& model) const;
  bool is_soft() const { return host_ == nullptr; }
  /// "kvm (...)", with what the probe found, or "soft (...)"; behind auto, why this one.
  const std::string& description() const { return description_; }

 private:
  explicit Engine(std::unique_ptr<kvm::KvmHost> host, const std::string& why);

  std::unique_ptr<kvm::KvmHost> host_;  // null: soft
  // The memory for generated code of one vCPU after the other: no sandbox gives any.
  std::unique_ptr<soft::ExecutablePool> code_;
  std::string description_;
};

}  // namespace dejavm::cli
