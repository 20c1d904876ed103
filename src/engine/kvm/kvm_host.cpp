#include "engine/kvm/kvm_host.h"

#include "engine/kvm/kvm_kick.h"
#include "engine/kvm/kvm_probe.h"

namespace dejavm::kvm {

Result<std::unique_ptr<KvmHost>> KvmHost::open(const std::string& path) {
  TRY_ASSIGN(KvmSystem system, KvmSystem::open(path));
  TRY(KickSwitch::install_handler());
  TRY_ASSIGN(ProbeResult found, probe(system));
  return std::make_unique<KvmHost>(std::move(system), std::move(found));
}

}  // namespace dejavm::kvm
