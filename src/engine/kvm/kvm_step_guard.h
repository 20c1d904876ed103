// Steps without a trace of the trap flag, which KVM sets in the guest to step.
#pragma once

#include <optional>
#include <span>

#include "base/result.h"
#include "engine/kvm/kvm_debug.h"
#include "engine/kvm/kvm_handlers.h"
#include "engine/kvm/kvm_registers.h"
#include "vm/instruction.h"
#include "vm/vcpu.h"

namespace dejavm::kvm {

/// KVM steps with RFLAGS.TF of the guest (AMD64 APM volume 2, section 13.1.4): PUSHF,
/// SYSCALL and the frames of exceptions save it where the guest sees it, exceptions and SYSCALL clear it, so that their
/// handlers run unseen, SYSRET loads another one, and a shadow of STI or MOV SS may hide the trap. A guard lives for one
/// step: it looks at the next instruction, catches handlers at their first instruction, and afterwards corrects what was
/// saved. Borrows everything.
class StepGuard {
 public:
  StepGuard(int vcpu_fd, KvmRegisters& registers, KvmDebug& debug, vm::GuestMemory& memory)
      : vcpu_fd_(vcpu_fd), registers_(registers), debug_(debug), memory_(memory), halts_(memory) {}

  /// At an instruction boundary with nothing pending, before stepping is armed.
  Status before_step();
  /// At an instruction boundary where an event waits: the delivery is to end at its handler. False: that is not to be had.
  Result<bool> before_delivery(uint8_t vector);
  /// The guest is to be caught at these addresses, as far as they are no user code's. `in_instruction`: it completes one
  /// before it comes to where RIP is.
  Status before_run(std::span<const vm::GuestVirt> addresses, bool in_instruction);

  /// For the exit that ended the step or the delivery. True: the guest was caught: the step or the delivery ends here.
  Result<bool> after(const vm::Exit& exit);

 private:
  Result<vm::CpuState> look();
  Status write(const kvm_regs& regs);
  Status step_back();
  Status clear_saved_flag(const vm::CpuState& cpu, uint64_t stack_offset);
  Status clear_frame_flag(const vm::CpuState& in_handler);
  Status clear_r11();
  Status hold_interrupts(const vm::CpuState& now);

  int vcpu_fd_;
  KvmRegisters& registers_;
  KvmDebug& debug_;
  vm::GuestMemory& memory_;
  PlantedHalts halts_;
  vm::CpuState before_;
  vm::InstructionInfo next_;
  bool stepping_ = false;
};

}  // namespace dejavm::kvm
