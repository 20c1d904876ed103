// Diversions: registers and memory of a replay are changed by hand, and the guest runs on without its recording.
#include "base/overloaded.h"
#include "replay/timeline.h"

namespace dejavm::replay {

using vm::SessionStop;
using Kind = vm::SessionStop::Kind;

namespace {

SessionStop waits_for_ever(std::string why) {
  return {.kind = Kind::interrupted,
          .reason = std::move(why) + ": a diversion has no interrupts; seek or go backward to leave it"};
}

}  // namespace

// ---- Running

Result<SessionStop> Replayer::run_diverted(vm::ResumeFor what, const DeviceAnswer& answer) {
  const bool stepping = what != vm::ResumeFor::go;
  vcpu_.set_step_limit(UINT64_MAX);
  std::optional<SessionStop> stop, at_device;  // at a device: once the instruction has completed
  bool in_instruction = false;
  while (!stop) {
    TRY_ASSIGN(const vm::Exit exit, vcpu_.run(in_instruction ? vm::RunMode::complete
                                              : stepping     ? vm::RunMode::step
                                                             : vm::RunMode::free));
    const bool completed = in_instruction && std::holds_alternative<vm::Completed>(exit);
    in_instruction = false;
    std::visit(Overloaded{
                   [&](const vm::DeviceAccess& e) {
                     vm::SeenAccess seen{.access = e.access, .recorded = false};
                     if (e.instruction) seen.instruction = e.instruction->value;
                     if (!e.access.is_write()) vcpu_.reply(seen.access.value = answer(e.access));
                     in_instruction = true;
                     const vm::AccessBreak* hit = breaks_.check(seen, devices_);
                     if (hit != nullptr && !at_device)
                       at_device = SessionStop{.kind = Kind::device, .seen = seen, .break_id = hit->id};
                   },
                   [&](const vm::MsrAccess&) {
                     vcpu_.reply(0);
                     in_instruction = true;
                   },
                   [&](const vm::Halted&) { stop = waits_for_ever("the guest halted"); },
                   [&](const vm::Shutdown&) { stop = waits_for_ever("the guest made a triple fault"); },
                   [&](const vm::BreakpointHit& hit) {
                     if (breaks_at(hit.at)) stop = SessionStop{.kind = Kind::breakpoint};
                   },
                   [&](const vm::WatchHit& hit) { stop = SessionStop{.kind = Kind::watch, .watch = hit}; },
                   [](const auto&) {},
               },
               exit);
    if (stop || in_instruction) continue;
    if (at_device) return *at_device;
    if (stepping && (completed || std::holds_alternative<vm::Stepped>(exit))) return SessionStop{.kind = Kind::step};
    // Where a run starts the vCPU passes a breakpoint.
    const vm::GuestVirt at{vcpu_.quick_registers().linear_rip()};
    if (completed && breaks_at(at)) stop = SessionStop{.kind = Kind::breakpoint};
    if (interrupt_wanted_.exchange(false)) {
      waker_->rearm();
      stop = SessionStop{.kind = Kind::interrupted};
    }
  }
  return *stop;
}

// ---- There and back

Status Timeline::divert() {
  if (diversion_) return {};
  TRY(checkpoints_->keep());
  TRY_ASSIGN(diversion_, replayer_.capture());
  return {};
}

Status Timeline::rejoin() {
  if (!diversion_) return {};
  const ReplayState base = *std::exchange(diversion_, std::nullopt);
  return checkpoints_->go_to(base);
}

/// RF comes and goes with a debugger's own doing.
bool Timeline::registers_as_recorded() {
  constexpr uint64_t kResumeFlag = 1u << 16;
  const vm::CpuState& now = vcpu().quick_registers();
  const vm::CpuState& base = diversion_->cpu;
  return now.gpr == base.gpr && now.rip == base.rip && ((now.rflags ^ base.rflags) & ~kResumeFlag) == 0;
}

/// What the guest read there last, or what is there.
uint64_t Timeline::diverted_answer(const vm::Access& access) {
  vm::AccessFilter filter;
  filter.places = {{.space = access.space, .first = access.addr, .last = access.addr}};
  filter.direction = vm::Direction::read;
  const auto seen = accesses_.last({&filter, 1}, static_cast<uint64_t>(last_event() + 1));
  if (seen && *seen && (*seen)->seen.access.addr == access.addr) return (*seen)->seen.access.value;
  uint64_t value = 0;
  for (unsigned i = 0; access.space == vm::Space::mmio && i < access.size; ++i) {
    value |= uint64_t{device_byte({access.addr + i}).value_or(0)} << (8 * i);
  }
  return value;
}

Result<SessionStop> Timeline::run_diversion(vm::ResumeFor what) {
  return replayer_.run_diverted(what, [this](const vm::Access& access) { return diverted_answer(access); });
}

}  // namespace dejavm::replay
