// The access that the guest's current instruction waits for: decoded once from the shared page, answered into it.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/kvm/kvm_abi.h"
#include "vm/vcpu.h"

namespace dejavm::kvm {

/// Borrows the shared page. While waiting() KVM holds a half-done instruction: not a consistent point.
class PendingAccess {
 public:
  explicit PendingAccess(kvm_run& run) : run_(run) {}

  /// Each takes the exit that KVM just made and returns its value. Reads answer zero until told.
  vm::DeviceAccess begin_mmio(std::optional<vm::GuestVirt> instruction);
  vm::DeviceAccess begin_pio();
  vm::MsrAccess begin_msr(bool write);
  /// An access that the engine deals with itself.
  void begin_internal() { kind_ = Kind::internal; }
  /// A WRMSR that becomes #GP.
  void begin_refused_msr();

  /// The next element of a string instruction that KVM batched, if there is one.
  std::optional<vm::DeviceAccess> next_element();

  void reply(uint64_t value);
  void reply_fault();

  bool waiting() const { return kind_ != Kind::none; }
  /// KVM has completed it.
  void done() { kind_ = Kind::none; }
  /// Where the instruction that waits stands, if it is known.
  std::optional<vm::GuestVirt> instruction() const { return instruction_; }

 private:
  enum class Kind { none, mmio, pio, msr, internal };

  uint8_t* element_data() const;
  vm::DeviceAccess element() const;

  kvm_run& run_;
  Kind kind_ = Kind::none;
  uint32_t element_ = 0;  // of run_.io.count
  std::optional<vm::GuestVirt> instruction_;
};

}  // namespace dejavm::kvm
