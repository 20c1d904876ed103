// Stops where the guest leaves the code that it runs, without its seeing how.
#pragma once

#include <optional>

#include "base/result.h"
#include "engine/kvm/kvm_debug.h"
#include "engine/kvm/kvm_handlers.h"
#include "engine/kvm/kvm_registers.h"
#include "vm/return_address.h"
#include "vm/vcpu.h"

namespace dejavm::kvm {

/// User code is stopped at the first instruction of the kernel, where HLT is planted for as long as user code, which has no
/// access to it, runs. A function of the kernel is stopped where a caller goes on: the return address on the stack becomes
/// that of a byte 0xf4, HLT, of the kernel's code. Only who reads a return address (a backtrace) can tell. It must not
/// outlive one entry into the guest. Borrows everything.
class WayOut {
 public:
  WayOut(int vcpu_fd, KvmRegisters& registers, KvmDebug& debug, vm::GuestMemory& memory)
      : vcpu_fd_(vcpu_fd), registers_(registers), debug_(debug), memory_(memory), entries_(memory, true) {}
  ~WayOut();
  WayOut(const WayOut&) = delete;
  WayOut& operator=(const WayOut&) = delete;

  /// At an instruction boundary with nothing pending; `level`: of how many functions of ring 0, 1 the innermost. False:
  /// there is none here.
  Result<bool> plant(size_t level);
  /// For the exit that ended the run. True: the guest was stopped on its way out, and stands where it leads.
  Result<bool> after(const vm::Exit& exit);

 private:
  Result<bool> plant_entries(const vm::CpuState& cpu);
  bool plant_return(const vm::CpuState& cpu, size_t level);
  Status go_on_at(uint64_t rip);

  int vcpu_fd_;
  KvmRegisters& registers_;
  KvmDebug& debug_;
  vm::GuestMemory& memory_;
  PlantedHalts entries_;
  std::optional<vm::ReturnSlot> slot_;
  uint8_t* word_ = nullptr;  // of the slot
  uint64_t halt_ = 0;        // what was put there
};

}  // namespace dejavm::kvm
