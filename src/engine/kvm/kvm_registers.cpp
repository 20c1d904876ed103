#include "engine/kvm/kvm_registers.h"

#include "engine/kvm/kvm_system.h"

namespace dejavm::kvm {

KvmRegisters::KvmRegisters(int vcpu_fd, kvm_run& run, bool sync_supported)
    : vcpu_fd_(vcpu_fd), run_(run), sync_supported_(sync_supported) {
  run_.kvm_valid_regs = run_.kvm_dirty_regs = 0;
}

void KvmRegisters::before_run() {
  bool wanted = sync_supported_ && looked_at_;
  run_.kvm_valid_regs = wanted ? KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS : 0;
  looked_at_ = false;
}

Result<const kvm_sync_regs*> KvmRegisters::get() {
  looked_at_ = true;
  kvm_sync_regs& registers = run_.s.regs;
  if (!fresh_) {
    TRY(kvm_ioctl(vcpu_fd_, KVM_GET_REGS, "KVM_GET_REGS", &registers.regs));
    TRY(kvm_ioctl(vcpu_fd_, KVM_GET_SREGS, "KVM_GET_SREGS", &registers.sregs));
    TRY(kvm_ioctl(vcpu_fd_, KVM_GET_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS", &registers.events));
    fresh_ = true;
  }
  return &registers;
}

bool event_pending(const kvm_vcpu_events& events) {
  return events.interrupt.injected != 0 || events.nmi.injected != 0 || events.nmi.pending != 0 ||
         events.exception.injected != 0 || events.exception.pending != 0;
}

uint64_t linear_rip(const kvm_sync_regs& registers) {
  constexpr uint64_t kLongModeActive = 1u << 10;
  bool code64 = (registers.sregs.efer & kLongModeActive) != 0 && registers.sregs.cs.l != 0;
  return code64 ? registers.regs.rip : static_cast<uint32_t>(registers.sregs.cs.base + registers.regs.rip);
}

}  // namespace dejavm::kvm
