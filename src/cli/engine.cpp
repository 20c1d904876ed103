#include "cli/engine.h"

#include <algorithm>

#include "engine/kvm/kvm_model.h"
#include "engine/kvm/kvm_vcpu.h"
#include "engine/soft/soft_vcpu.h"

namespace dejavm::cli {
namespace {

Status check_name(const std::string& accel) {
  if (accel == "kvm" || accel == "soft" || accel == "auto") return {};
  return fail_usage(fmt::format("-accel {} is not supported", accel), "The engines are kvm, soft and auto.");
}

/// KVM for somebody who asked for it by name.
Result<std::unique_ptr<kvm::KvmHost>> open_kvm() {
  auto host = kvm::KvmHost::open();
  if (!host) return fail(host.error().what, host.error().next + " Or run without it: -accel soft.");
  return std::move(*host);
}

bool replays_on(const trace::Description& recording, const char* engine) {
  return std::find(recording.replayable_on.begin(), recording.replayable_on.end(), engine) != recording.replayable_on.end();
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

Engine::Engine(std::unique_ptr<kvm::KvmHost> host, const std::string& why)
    : host_(std::move(host)),
      code_(std::make_unique<soft::ExecutablePool>()),
      description_((host_ != nullptr ? host_->capabilities().description : "soft (a CPU in software)") + why) {}

Result<Engine> Engine::for_guest(const std::string& accel, bool is_kernel) {
  TRY(check_name(accel));
  if (accel == "soft") return Engine(nullptr, "");
  if (accel == "kvm") {
    TRY_ASSIGN(auto host, open_kvm());
    return Engine(std::move(host), "");
  }
  auto host = kvm::KvmHost::open();
  if (!host) return Engine(nullptr, "; no KVM: " + first_line(host.error().what));
  if (is_kernel && !(*host)->found().runs_kernels) {
    return Engine(nullptr, "; this host's KVM lacks instructions that kernels use");
  }
  return Engine(std::move(*host), "; chosen because it runs this guest at the host's speed");
}

Result<Engine> Engine::for_replay(const std::string& accel, const trace::Description& recording) {
  TRY(check_name(accel));
  if (accel == "soft") return Engine(nullptr, "");
  if (accel == "kvm") {
    if (!replays_on(recording, "kvm")) {
      return fail("this recording cannot be replayed on KVM: " + recording.replayable_why, "Replay it with -accel soft.");
    }
    TRY_ASSIGN(auto host, open_kvm());
    return Engine(std::move(host), "");
  }
  if (!recording.engine.starts_with("kvm")) return Engine(nullptr, "; it was recorded there");
  auto host = kvm::KvmHost::open();
  if (!host) return Engine(nullptr, "; no KVM: " + first_line(host.error().what));
  auto seen = kvm::effective_model((*host)->system(), recording.cpu_model);
  if (!seen) return tl::make_unexpected(seen.error());
  if (*seen != recording.cpu_model) return Engine(nullptr, "; this host's KVM shows a guest other CPUID values");
  if (vm::differs_much((*host)->found().cpu_kind, recording.cpu_model.kind)) {
    return Engine(nullptr, "; this host's CPU leaves other undefined flags");
  }
  return Engine(std::move(*host), "; it was recorded there");
}

Result<std::unique_ptr<vm::Vcpu>> Engine::create_vcpu(vm::GuestMemory& memory, const vm::CpuModel& model,
                                                      uint64_t steps) const {
  if (is_soft()) return soft::create_vcpu(memory, model, soft::Execution::translate, code_.get(), steps);
  return kvm::create_vcpu(*host_, memory, model);
}

Result<vm::CpuModel> Engine::effective_model(const vm::CpuModel& model) const {
  if (is_soft()) return model;
  return kvm::effective_model(*host_, model);
}

}  // namespace dejavm::cli
