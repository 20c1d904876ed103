// Stops where the guest leaves the code that it runs, without its seeing how.
#pragma once

#include "base/result.h"
#include "engine/kvm/kvm_debug.h"
#include "engine/kvm/kvm_handlers.h"
#include "engine/kvm/kvm_registers.h"
#include "vm/vcpu.h"

namespace dejavm::kvm {

/// User code is stopped at the first instruction of the kernel, where HLT is planted for as long as user code, which has no
/// access to it, runs. A function of the kernel is stopped where its caller goes on, or its loop ends, by HLT as well: a
/// kernel that reads or patches the very instruction meanwhile would meet it. It must not outlive one entry into the guest.
/// Borrows everything.
class WayOut {
 public:
  WayOut(int vcpu_fd, KvmRegisters& registers, KvmDebug& debug, vm::GuestMemory& memory)
      : vcpu_fd_(vcpu_fd), registers_(registers), debug_(debug), memory_(memory), halts_(memory, true) {}

  /// At an instruction boundary with nothing pending. False: there is none here.
  Result<bool> plant(vm::WayOut way);
  /// For the exit that ended the run. True: the guest was stopped on its way out, and stands where it leads.
  Result<bool> after(const vm::Exit& exit);

 private:
  Status plant_entries(const vm::CpuState& cpu);

  int vcpu_fd_;
  KvmRegisters& registers_;
  KvmDebug& debug_;
  vm::GuestMemory& memory_;
  PlantedHalts halts_;
};

}  // namespace dejavm::kvm
