// Picks the engine that -accel names.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "engine/kvm/kvm_host.h"
#include "vm/cpu_model.h"
#include "vm/guest_memory.h"
#include "vm/vcpu.h"

namespace dejavm::cli {

/// An opened engine. It outlives the vCPUs that it makes.
class Engine {
 public:
  /// `accel`: kvm or auto.
  static Result<Engine> open(const std::string& accel);

  Result<std::unique_ptr<vm::Vcpu>> create_vcpu(vm::GuestMemory& memory, const vm::CpuModel& model) const;
  /// The model as a guest of this engine sees it: some hosts' KVM shows CPUID bits whatever it is told.
  Result<vm::CpuModel> effective_model(const vm::CpuModel& model) const;
  /// "kvm (...)", with what the probe found.
  const std::string& description() const { return host_->capabilities().description; }

 private:
  explicit Engine(std::unique_ptr<kvm::KvmHost> host) : host_(std::move(host)) {}

  std::unique_ptr<kvm::KvmHost> host_;
};

}  // namespace dejavm::cli
