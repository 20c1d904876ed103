#include "cli/engine.h"

#include "engine/kvm/kvm_vcpu.h"

namespace dejavm::cli {

Result<Engine> Engine::open(const std::string& accel) {
  if (accel != "kvm" && accel != "auto") {
    return fail_usage(fmt::format("-accel {} is not supported", accel), "This dejavm has one engine: -accel kvm.");
  }
  TRY_ASSIGN(auto host, kvm::KvmHost::open());
  return Engine(std::move(host));
}

Result<std::unique_ptr<vm::Vcpu>> Engine::create_vcpu(vm::GuestMemory& memory, const vm::CpuModel& model) const {
  return kvm::create_vcpu(*host_, memory, model);
}

Result<vm::CpuModel> Engine::effective_model(const vm::CpuModel& model) const {
  return kvm::effective_model(host_->system(), model);
}

}  // namespace dejavm::cli
