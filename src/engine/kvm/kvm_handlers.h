// Stops at the handlers of exceptions and interrupts, also where KVM has no breakpoints.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "vm/cpu_state.h"
#include "vm/guest_memory.h"

namespace dejavm::kvm {

/// While it lives, the first byte of each of the given addresses is HLT, which ends KVM_RUN in ring 0 on every KVM. It must
/// not outlive one entry into the guest: nobody else may see these bytes.
class PlantedHalts {
 public:
  /// `hidden`: only where user code has no access.
  explicit PlantedHalts(vm::GuestMemory& memory, bool hidden = false) : memory_(memory), hidden_(hidden) {}
  ~PlantedHalts();
  PlantedHalts(const PlantedHalts&) = delete;
  PlantedHalts& operator=(const PlantedHalts&) = delete;

  /// Nothing where no memory is mapped. At the guest's next instruction it would end the run before that.
  void plant(const vm::CpuState& cpu, vm::GuestVirt address);
  /// The handlers of the exceptions that instructions raise, and of one vector, but where the guest is at its start.
  void plant_exceptions(const vm::CpuState& cpu);
  void plant_vector(const vm::CpuState& cpu, uint8_t vector);

  bool any() const { return !planted_.empty(); }
  /// Whether a HLT that KVM reports with RIP behind it is one of these.
  bool hit(const vm::CpuState& behind) const;

 private:
  struct Planted {
    vm::GuestVirt address;
    uint8_t* byte;
    uint8_t original;
  };

  vm::GuestMemory& memory_;
  bool hidden_;
  std::vector<Planted> planted_;
};

}  // namespace dejavm::kvm
