#include "engine/kvm/kvm_vcpu.h"

#include <sys/ioctl.h>

#include <algorithm>

#include "base/check.h"
#include "engine/kvm/kvm_access.h"
#include "engine/kvm/kvm_debug.h"
#include "engine/kvm/kvm_failure.h"
#include "engine/kvm/kvm_kick.h"
#include "engine/kvm/kvm_memory.h"
#include "engine/kvm/kvm_model.h"
#include "engine/kvm/kvm_registers.h"
#include "engine/kvm/kvm_step_guard.h"
#include "engine/kvm/kvm_way_out.h"
#include "vm/instruction.h"
#include "vm/translate.h"

namespace dejavm::kvm {
namespace {

using vm::Exit;
using vm::RunMode;

/// The run loop. Owns the VM; every room of the engine hangs on its descriptors.
/// Invariant between calls: either access_.waiting(), or KVM stands at an instruction boundary.
class KvmVcpu final : public vm::Vcpu {
 public:
  KvmVcpu(VmHandles handles, const ProbeResult& found, vm::GuestMemory& memory, bool sync_registers)
      : handles_(std::move(handles)),
        found_(found),
        memory_(memory),
        slots_(handles_.vm.get(), memory),
        registers_(fd(), shared(), sync_registers),
        access_(shared()),
        debug_(fd()),
        kick_(shared().immediate_exit) {}

  const vm::VcpuCapabilities& capabilities() const override { return found_.capabilities; }

  Result<Exit> run(RunMode mode) override;
  Result<std::optional<Exit>> run_out(vm::WayOut way, const std::function<void()>& starts) override;
  void reply(uint64_t value) override { access_.reply(value); }
  void reply_fault() override { access_.reply_fault(); }
  void kick() override { kick_.kick(); }

  Result<vm::CpuState> state() override;
  Status set_state(const vm::CpuState& state) override;
  const vm::CpuState& quick_registers() override;
  uint64_t rip() override;

  bool interrupts_enabled() const override { return interrupts_enabled_; }
  Result<bool> can_interrupt() override;
  Status interrupt(uint8_t vector) override;
  Status nmi() override;
  Result<bool> injection_pending() override;
  void request_window(bool wanted) override { window_wanted_ = wanted; }

  Status set_breakpoints(std::span<const vm::GuestVirt> addresses) override;
  Result<bool> can_break_at(vm::GuestVirt address) override;
  Status collect_dirty() override { return slots_.collect_dirty(); }

 private:
  int fd() const { return handles_.vcpu.get(); }
  kvm_run& shared() const { return handles_.run(); }

  Result<Exit> run_free();
  Result<Exit> run_on();
  Result<Exit> leave_lost_shadow();
  Result<Exit> run_step();
  Result<Exit> run_complete();
  Result<std::optional<Exit>> leave_breakpoint();
  Result<std::optional<Exit>> deliver_event();
  Result<bool> interrupted();

  /// KVM_RUN once. Completed: nothing is pending and nothing else happened (EINTR). Nullopt: the guest wrote ROM, which
  /// changes nothing, or an MSR that takes no such value; the instruction waits to be completed.
  Result<std::optional<Exit>> enter();
  Result<std::optional<Exit>> decode();
  Result<std::optional<Exit>> decode_mmio();
  Result<Exit> decode_debug();
  Result<vm::CpuState> present_registers();
  Result<bool> next_is_halt();

  VmHandles handles_;
  ProbeResult found_;
  vm::GuestMemory& memory_;
  KvmMemory slots_;
  KvmRegisters registers_;
  PendingAccess access_;
  KvmDebug debug_;
  KickSwitch kick_;
  RunMode mode_ = RunMode::free;  // what the present KVM_RUN is for: a debug exit's meaning depends on it
  bool window_wanted_ = false;
  bool interrupts_enabled_ = false;
  vm::CpuState quick_;
};

Result<Exit> KvmVcpu::run(RunMode mode) {
  TRY(slots_.sync());
  if (auto next = access_.next_element()) return Exit{*next};
  switch (mode) {
    case RunMode::free:
      return run_free();
    case RunMode::step:
      return run_step();
    case RunMode::complete:
      return run_complete();
  }
  return fail("a run mode that does not exist");
}

Result<Exit> KvmVcpu::run_free() {
  TRY_ASSIGN(auto left, leave_breakpoint());
  if (left) return *left;
  mode_ = RunMode::free;
  TRY(found_.debug_breakpoints ? debug_.arm_breakpoints() : debug_.disarm());
  shared().request_interrupt_window = window_wanted_ ? 1 : 0;
  kick_.before_run();
  std::optional<StepGuard> guard;
  if (!found_.debug_breakpoints && debug_.any()) {
    vm::GuestVirt here{quick_registers().linear_rip()};
    if (!access_.waiting() && debug_.has(here)) return Exit{vm::BreakpointHit{here}};  // a step off another one led here
    guard.emplace(fd(), registers_, debug_, memory_);
    TRY(guard->before_run(debug_.breakpoints(), access_.waiting()));
  }
  TRY_ASSIGN(Exit exit, run_on());
  if (!guard) return exit;
  TRY_ASSIGN(bool caught, guard->after(exit));
  return caught ? Exit{vm::BreakpointHit{{quick_registers().linear_rip()}}} : exit;
}

/// KVM_RUN as often as it takes to an exit or a kick.
Result<Exit> KvmVcpu::run_on() {
  for (;;) {
    TRY_ASSIGN(auto exit, enter());
    if (exit && std::holds_alternative<vm::WindowOpen>(*exit) && found_.quirks.loses_shadow) return leave_lost_shadow();
    if (exit && !std::holds_alternative<vm::Completed>(*exit)) return *exit;
    if (exit) {
      TRY_ASSIGN(bool stop, interrupted());
      if (stop) return Exit{vm::Interrupted{}};
    } else {
      kick_.before_run();
    }
  }
}

/// The window opened. Right behind STI that is too early, but for a return to there: the guest goes one instruction further,
/// to where the window opens on other hosts, and whoever waited for it is told of a place that may be another.
Result<Exit> KvmVcpu::leave_lost_shadow() {
  if (!vm::follows_sti(quick_registers(), memory_)) return Exit{vm::WindowOpen{}};
  TRY_ASSIGN(Exit exit, run_step());
  return std::holds_alternative<vm::Stepped>(exit) ? Exit{vm::Interrupted{}} : exit;
}

Result<std::optional<Exit>> KvmVcpu::run_out(vm::WayOut way, const std::function<void()>& starts) {
  if (access_.waiting() || debug_.any()) return std::nullopt;
  TRY(slots_.sync());
  WayOut out(fd(), registers_, debug_, memory_);
  TRY_ASSIGN(bool planted, out.plant(way));
  if (!planted) return std::nullopt;
  mode_ = RunMode::free;
  TRY(debug_.disarm());
  shared().request_interrupt_window = window_wanted_ ? 1 : 0;
  starts();
  kick_.before_run();
  TRY_ASSIGN(Exit exit, run_on());
  TRY_ASSIGN(bool there, out.after(exit));
  return there ? Exit{vm::BreakpointHit{{quick_registers().linear_rip()}}} : exit;
}

/// After EINTR: whether a kick ends the run here. Prepares the next KVM_RUN if not.
Result<bool> KvmVcpu::interrupted() {
  if (!kick_.kicked()) {
    kick_.before_run();
    return false;
  }
  TRY_ASSIGN(bool pending, injection_pending());
  // A HLT that is planted there for a replay would run in the shadow, and be its end.
  bool shadow = !found_.debug_breakpoints && quick_registers().interrupt_shadow != 0;
  if (!pending && !shadow) return kick_.take();
  if (kick_.waits_in_vain()) {
    kick_.take();
    TRY_ASSIGN(const kvm_sync_regs* registers, registers_.get());
    return tl::make_unexpected(describe_stuck_event(registers->events, quick_registers(), memory_));
  }
  // An interrupt or exception whose frame is not pushed is no place to stop: let the guest go on for a moment.
  kick_.before_step();
  TRY(kick_.postpone());
  return false;
}

/// A breakpoint that is armed fires again at the instruction where it stopped the guest.
Result<std::optional<Exit>> KvmVcpu::leave_breakpoint() {
  if (access_.waiting() || !debug_.any()) return std::nullopt;
  TRY_ASSIGN(const kvm_sync_regs* registers, registers_.get());
  if (!debug_.has({linear_rip(*registers)})) return std::nullopt;
  TRY_ASSIGN(Exit exit, run_step());
  if (std::holds_alternative<vm::Stepped>(exit)) return std::nullopt;
  return exit;
}

Result<Exit> KvmVcpu::run_step() {
  if (access_.waiting()) {
    TRY_ASSIGN(Exit rest, run_complete());
    if (!std::holds_alternative<vm::Completed>(rest)) return rest;
  }
  mode_ = RunMode::step;
  shared().request_interrupt_window = 0;
  TRY_ASSIGN(bool halt, next_is_halt());
  TRY_ASSIGN(auto early, deliver_event());
  if (early) return *early;
  StepGuard guard(fd(), registers_, debug_, memory_);
  if (!halt) TRY(guard.before_step());
  for (;;) {
    // Stepping over HLT would hide the exit on some hosts; HLT exits by itself.
    TRY(halt ? debug_.disarm() : debug_.arm_step());
    kick_.before_step();
    TRY_ASSIGN(auto exit, enter());
    if (!exit) {
      // As at a device, the write's exit takes the place of the debug exit.
      TRY_ASSIGN(Exit rest, run_complete());
      return std::holds_alternative<vm::Completed>(rest) ? Exit{vm::Stepped{}} : rest;
    }
    if (std::holds_alternative<vm::Completed>(*exit)) continue;
    TRY_ASSIGN(bool delivered, guard.after(*exit));
    return delivered ? Exit{vm::Stepped{}} : *exit;
  }
}

/// An interrupt that waits would be delivered with the trap flag of single-step in its frame, where the guest sees it: it is
/// delivered first. An exit: what came in between.
Result<std::optional<Exit>> KvmVcpu::deliver_event() {
  TRY_ASSIGN(const kvm_sync_regs* registers, registers_.get());
  constexpr uint8_t kNmi = 2;
  const kvm_vcpu_events& events = registers->events;
  bool nmi = events.nmi.injected != 0 || events.nmi.pending != 0;
  if (!nmi && events.interrupt.injected == 0) return std::nullopt;
  StepGuard guard(fd(), registers_, debug_, memory_);
  TRY_ASSIGN(bool caught, guard.before_delivery(nmi ? kNmi : events.interrupt.nr));
  while (caught) {
    kick_.before_step();
    TRY_ASSIGN(auto exit, enter());
    if (!exit || std::holds_alternative<vm::Completed>(*exit)) continue;
    TRY_ASSIGN(bool delivered, guard.after(*exit));
    return delivered ? std::nullopt : exit;
  }
  return std::nullopt;
}

Result<Exit> KvmVcpu::run_complete() {
  if (!access_.waiting()) return Exit{vm::Completed{}};
  mode_ = RunMode::complete;
  TRY(debug_.disarm());
  shared().request_interrupt_window = 0;
  auto instruction = access_.instruction();
  for (;;) {
    kick_.before_complete();
    TRY_ASSIGN(auto exit, enter());
    if (!exit) continue;
    // The next access of the same instruction, whose RIP may have moved on.
    if (auto* next = std::get_if<vm::DeviceAccess>(&*exit); next != nullptr && !next->instruction)
      next->instruction = instruction;
    return *exit;
  }
}

Result<std::optional<Exit>> KvmVcpu::enter() {
  registers_.before_run();
  int result = ::ioctl(fd(), KVM_RUN, nullptr);
  int error = errno;
  kick_.after();
  registers_.ran();
  interrupts_enabled_ = shared().if_flag != 0;
  if (result < 0 && error != EINTR) {
    TRY_ASSIGN(vm::CpuState state, present_registers());
    errno = error;
    return fail_errno(fmt::format("KVM_RUN failed with the guest in this state:\n{}error", describe(state)));
  }
  access_.done();
  if (result < 0) return Exit{vm::Completed{}};
  return decode();
}

Result<std::optional<Exit>> KvmVcpu::decode() {
  const kvm_run& run = shared();
  switch (run.exit_reason) {
    case KVM_EXIT_MMIO:
      return decode_mmio();
    case KVM_EXIT_IO:
      return Exit{access_.begin_pio()};
    case KVM_EXIT_X86_RDMSR:
      return Exit{access_.begin_msr(false)};
    case KVM_EXIT_X86_WRMSR:
      if (!takes_no_write(run.msr.index)) return Exit{access_.begin_msr(true)};
      access_.begin_refused_msr();
      return std::nullopt;
    case KVM_EXIT_HLT:
      return Exit{vm::Halted{}};
    case KVM_EXIT_SHUTDOWN:
      return Exit{vm::Shutdown{}};
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return Exit{vm::WindowOpen{}};
    case KVM_EXIT_INTR:
    case KVM_EXIT_SET_TPR:  // the guest lowered CR8, which nothing but the CPU looks at
      return Exit{vm::Completed{}};
    case KVM_EXIT_DEBUG: {
      TRY_ASSIGN(Exit exit, decode_debug());
      return exit;
    }
    default: {
      TRY_ASSIGN(vm::CpuState state, present_registers());
      return tl::make_unexpected(describe_failure(run, state, memory_));
    }
  }
}

Result<std::optional<Exit>> KvmVcpu::decode_mmio() {
  const kvm_run& run = shared();
  bool write = run.mmio.is_write != 0;
  const vm::MemoryRange* range = memory_.find({run.mmio.phys_addr});
  if (range != nullptr && write && !range->writable) {
    access_.begin_internal();
    return std::nullopt;
  }
  TRY_ASSIGN(const kvm_sync_regs* registers, registers_.get());
  if (range != nullptr) {
    TRY_ASSIGN(vm::CpuState state, present_registers());
    return tl::make_unexpected(describe_memory_exit(run, state, memory_));
  }
  if (write) return Exit{access_.begin_mmio(std::nullopt)};
  return Exit{access_.begin_mmio(vm::GuestVirt{linear_rip(*registers)})};
}

Result<Exit> KvmVcpu::decode_debug() {
  vm::GuestVirt at{shared().debug.arch.pc};
  if (mode_ == RunMode::complete) return Exit{vm::Completed{}};
  if (mode_ == RunMode::step) return Exit{vm::Stepped{}};
  if (debug_.has(at)) return Exit{vm::BreakpointHit{at}};
  TRY_ASSIGN(vm::CpuState state, present_registers());
  return tl::make_unexpected(describe_failure(shared(), state, memory_));
}

Result<vm::CpuState> KvmVcpu::present_registers() {
  TRY_ASSIGN(const kvm_sync_regs* registers, registers_.get());
  vm::CpuState state;
  fill_registers(*registers, state);
  return state;
}

Result<bool> KvmVcpu::next_is_halt() {
  TRY_ASSIGN(vm::CpuState state, present_registers());
  TRY_ASSIGN(bool pending, injection_pending());
  constexpr uint8_t kHalt = 0xf4;
  constexpr uint8_t kMaxUserRing = 3;
  uint8_t byte = 0;
  if (pending || state.segment[vm::cs].dpl == kMaxUserRing) return false;
  return vm::read_virtual(state, memory_, {state.linear_rip()}, {&byte, 1}) == 1 && byte == kHalt;
}

Result<vm::CpuState> KvmVcpu::state() {
  TRY_ASSIGN(const kvm_sync_regs* registers, registers_.get());
  return read_state(fd(), *registers);
}

Status KvmVcpu::set_state(const vm::CpuState& state) {
  CHECK(!access_.waiting());
  TRY(debug_.disarm());  // while stepping is armed KVM would put the trap flag into the new RFLAGS
  registers_.invalidate();
  TRY(write_state(fd(), state, found_.quirks));
  shared().cr8 = state.cr8;  // KVM takes it from here at every entry
  interrupts_enabled_ = (state.rflags & vm::kRflagsIf) != 0;
  return {};
}

const vm::CpuState& KvmVcpu::quick_registers() {
  auto registers = registers_.get();
  CHECK(registers.has_value());  // reading registers of a vCPU that is not running has no way to fail
  fill_registers(**registers, quick_);
  return quick_;
}

uint64_t KvmVcpu::rip() {
  auto registers = registers_.get();
  CHECK(registers.has_value());
  return (*registers)->regs.rip;
}

Result<bool> KvmVcpu::injection_pending() {
  TRY_ASSIGN(const kvm_sync_regs* registers, registers_.get());
  return event_pending(registers->events);
}

Result<bool> KvmVcpu::can_interrupt() {
  if (access_.waiting()) return false;
  TRY_ASSIGN(const kvm_sync_regs* registers, registers_.get());
  return (registers->regs.rflags & vm::kRflagsIf) != 0 && registers->events.interrupt.shadow == 0 &&
         !event_pending(registers->events);
}

Status KvmVcpu::interrupt(uint8_t vector) {
  TRY_ASSIGN(bool possible, can_interrupt());
  CHECK(possible);
  kvm_interrupt request{};
  request.irq = vector;
  registers_.invalidate();
  TRY(kvm_ioctl(fd(), KVM_INTERRUPT, "KVM_INTERRUPT", &request));
  return {};
}

Status KvmVcpu::nmi() {
  CHECK(!access_.waiting());
  registers_.invalidate();
  TRY(kvm_ioctl(fd(), KVM_NMI, "KVM_NMI"));
  return {};
}

Status KvmVcpu::set_breakpoints(std::span<const vm::GuestVirt> addresses) {
  if (addresses.size() > found_.capabilities.max_breakpoints) {
    return fail(fmt::format("{} breakpoints are wanted; this host's KVM has {}", addresses.size(),
                            found_.capabilities.max_breakpoints),
                "Stop by stepping, or set fewer breakpoints.");
  }
  debug_.set_breakpoints(addresses);
  return {};
}

/// Neither a HLT nor the debug registers of a KVM that interprets ring 0 stop user code.
Result<bool> KvmVcpu::can_break_at(vm::GuestVirt address) {
  if (!found_.capabilities.hardware_breakpoints) return false;
  TRY_ASSIGN(vm::CpuState state, present_registers());
  return !vm::is_user_page(state, memory_, address);
}

}  // namespace

Result<std::unique_ptr<vm::Vcpu>> create_vcpu(const KvmHost& host, vm::GuestMemory& memory, const vm::CpuModel& model) {
  return create_vcpu(host.system(), host.found(), memory, model);
}

Result<vm::CpuModel> effective_model(const KvmSystem& system, const vm::CpuModel& model) {
  TRY_ASSIGN(VmHandles handles, system.create_vm());
  TRY(set_cpuid(handles.vcpu.get(), model));
  vm::CpuModel effective = model;
  TRY_ASSIGN(effective.cpuid, read_cpuid(handles.vcpu.get()));
  return effective;
}

Result<vm::CpuModel> effective_model(const KvmHost& host, const vm::CpuModel& model) {
  TRY_ASSIGN(vm::CpuModel effective, effective_model(host.system(), model));
  effective.kind = host.found().cpu_kind;
  effective.counts_zeros = host.found().counts_zeros;
  return effective;
}

Result<std::unique_ptr<vm::Vcpu>> create_vcpu(const KvmSystem& system, const ProbeResult& assumed, vm::GuestMemory& memory,
                                              const vm::CpuModel& model) {
  TRY_ASSIGN(VmHandles handles, system.create_vm());
  TRY(filter_msrs(handles.vm.get()));
  TRY(set_cpuid(handles.vcpu.get(), model));
  constexpr int kSynced = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
  bool sync_registers = (system.extension(KVM_CAP_SYNC_REGS) & kSynced) == kSynced;
  auto vcpu = std::make_unique<KvmVcpu>(std::move(handles), assumed, memory, sync_registers);
  TRY(vcpu->set_state(vm::reset_state()));
  return std::unique_ptr<vm::Vcpu>(std::move(vcpu));
}

}  // namespace dejavm::kvm
