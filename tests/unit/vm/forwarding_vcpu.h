// A vCPU in front of another one, to change some of what it does.
#pragma once

#include "vm/vcpu.h"

namespace dejavm::vm {

/// Passes on all that an engine must have. What it may have besides (steps, watchpoints, ...) is absent.
class ForwardingVcpu : public Vcpu {
 public:
  const VcpuCapabilities& capabilities() const override { return inner().capabilities(); }
  Result<Exit> run(RunMode mode) override { return inner().run(mode); }
  void reply(uint64_t value) override { inner().reply(value); }
  void reply_fault() override { inner().reply_fault(); }
  void kick() override { inner().kick(); }
  Result<CpuState> state() override { return inner().state(); }
  Status set_state(const CpuState& state) override { return inner().set_state(state); }
  const CpuState& quick_registers() override { return inner().quick_registers(); }
  bool interrupts_enabled() const override { return inner().interrupts_enabled(); }
  Result<bool> can_interrupt() override { return inner().can_interrupt(); }
  Status interrupt(uint8_t vector) override { return inner().interrupt(vector); }
  Status nmi() override { return inner().nmi(); }
  Result<bool> injection_pending() override { return inner().injection_pending(); }
  void request_window(bool wanted) override { inner().request_window(wanted); }
  Status set_breakpoints(std::span<const GuestVirt> addresses) override { return inner().set_breakpoints(addresses); }
  Status collect_dirty() override { return inner().collect_dirty(); }

 protected:
  virtual Vcpu& inner() const = 0;
};

}  // namespace dejavm::vm
