// The engines of the replayers that tests build for themselves.
#pragma once

#include <memory>
#include <string_view>

#include "engine/kvm/kvm_host.h"
#include "engine/kvm/kvm_vcpu.h"
#include "engine/soft/soft_vcpu.h"

namespace dejavm::integration {

/// An engine by its name, kvm or soft. It outlives the vCPUs that it makes.
class ReplayEngine {
 public:
  static Result<ReplayEngine> create(std::string_view name) {
    if (name == "soft") return ReplayEngine(nullptr);
    TRY_ASSIGN(auto host, kvm::KvmHost::open());
    return ReplayEngine(std::move(host));
  }

  Result<std::unique_ptr<vm::Vcpu>> create_vcpu(vm::GuestMemory& memory, const vm::CpuModel& model) const {
    if (host_ == nullptr) return soft::create_vcpu(memory, model);
    return kvm::create_vcpu(*host_, memory, model);
  }

 private:
  explicit ReplayEngine(std::unique_ptr<kvm::KvmHost> host) : host_(std::move(host)) {}

  std::unique_ptr<kvm::KvmHost> host_;  // null: soft
};

}  // namespace dejavm::integration
