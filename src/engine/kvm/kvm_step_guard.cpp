#include "engine/kvm/kvm_step_guard.h"

#include <array>

#include "base/bytes.h"
#include "engine/kvm/kvm_delivery.h"
#include "engine/kvm/kvm_state.h"
#include "engine/kvm/kvm_system.h"
#include "vm/translate.h"

namespace dejavm::kvm {
namespace {

constexpr uint64_t kTrapFlag = 1u << 8;
constexpr uint64_t kLongModeActive = 1u << 10;
constexpr uint32_t kMsrLstar = 0xc0000082, kMsrCstar = 0xc0000083;

/// The linear address of the stack's top.
uint64_t stack_top(const vm::CpuState& cpu) {
  if (cpu.code_bits() == 64) return cpu.gpr[vm::rsp];
  const vm::Segment& ss = cpu.segment[vm::ss];
  uint64_t offset = ss.db != 0 ? static_cast<uint32_t>(cpu.gpr[vm::rsp]) : static_cast<uint16_t>(cpu.gpr[vm::rsp]);
  return static_cast<uint32_t>(ss.base + offset);
}

Result<uint64_t> read_msr(int vcpu_fd, uint32_t index) {
  MsrTable<1> table;
  table.entries[0].index = index;
  TRY(kvm_ioctl(vcpu_fd, KVM_GET_MSRS, "KVM_GET_MSRS", &table));
  return table.entries[0].data;
}

/// Whether a word of a frame is RFLAGS as an instruction in state `before` saves them, with the trap flag. What the
/// instruction computes may have changed.
bool is_saved_flags(uint64_t word, const vm::CpuState& before) {
  constexpr uint64_t kAlwaysSet = 2, kSystemFlags = 0x7200;  // IF, IOPL, NT
  return (word & kTrapFlag) != 0 && (word & kAlwaysSet) != 0 && ((word ^ before.rflags) & kSystemFlags) == 0;
}

}  // namespace

Result<vm::CpuState> StepGuard::look() {
  TRY_ASSIGN(const kvm_sync_regs* registers, registers_.get());
  vm::CpuState cpu;
  fill_registers(*registers, cpu);
  return cpu;
}

Status StepGuard::write(const kvm_regs& regs) {
  TRY(debug_.disarm());  // while stepping is armed KVM would put the trap flag into RFLAGS
  TRY(kvm_ioctl(vcpu_fd_, KVM_SET_REGS, "KVM_SET_REGS", &regs));
  registers_.invalidate();
  return {};
}

Status StepGuard::before_step() {
  stepping_ = true;
  TRY_ASSIGN(before_, look());
  auto decoded = vm::decode_at(before_, memory_, {before_.linear_rip()});
  next_ = decoded.value_or(vm::InstructionInfo{});
  if (decoded && !next_.may_fault) return {};
  halts_.plant_exceptions(before_);
  if (next_.hazard == vm::StepHazard::software_interrupt) halts_.plant_vector(before_, next_.vector);
  bool shadow = next_.hazard == vm::StepHazard::sets_interrupts || next_.hazard == vm::StepHazard::loads_stack_segment;
  bool in_ring_0 = (before_.segment[vm::cs].selector & 3) == 0;
  // Some CPUs hold back the trap too, and would step over the next instruction as well.
  if (shadow && in_ring_0) halts_.plant(before_, {before_.linear_rip() + next_.length});
  if (next_.hazard == vm::StepHazard::system_call) {
    TRY_ASSIGN(uint64_t entry, read_msr(vcpu_fd_, before_.code_bits() == 64 ? kMsrLstar : kMsrCstar));
    halts_.plant(before_, {entry});
  }
  if (next_.hazard == vm::StepHazard::system_return) {
    TRY_ASSIGN(const kvm_sync_regs* registers, registers_.get());
    kvm_regs regs = registers->regs;
    regs.r11 |= kTrapFlag;
    TRY(write(regs));
  }
  return {};
}

Result<bool> StepGuard::before_delivery(uint8_t vector) {
  TRY_ASSIGN(before_, look());
  if (!handler_address(before_, memory_, vector)) return false;
  TRY(debug_.disarm());
  halts_.plant_vector(before_, vector);
  halts_.plant_exceptions(before_);
  return true;
}

Status StepGuard::before_run(std::span<const vm::GuestVirt> addresses, bool in_instruction) {
  TRY_ASSIGN(before_, look());
  for (vm::GuestVirt address : addresses) {
    bool next = !in_instruction && address.value == before_.linear_rip();
    if (!next && !vm::is_user_page(before_, memory_, address)) halts_.plant(before_, address);
  }
  return {};
}

Result<bool> StepGuard::after(const vm::Exit& exit) {
  bool stepped = std::holds_alternative<vm::Stepped>(exit);
  if (!stepped && !std::holds_alternative<vm::Halted>(exit)) return false;
  TRY_ASSIGN(vm::CpuState now, look());
  bool caught = halts_.hit(now);  // where KVM interprets ring 0, a HLT that is stepped over is a step
  if (!stepped && !caught) return false;
  if (caught) {
    TRY(step_back());
    --now.rip;
  }
  bool in_order = now.rip == before_.rip + next_.length;
  switch (stepping_ ? next_.hazard : vm::StepHazard::none) {
    case vm::StepHazard::system_call:
    case vm::StepHazard::system_return:
      TRY(clear_r11());
      return caught;
    case vm::StepHazard::pushes_flags:
      if (!caught) TRY(clear_saved_flag(now, 0));
      break;
    case vm::StepHazard::sets_interrupts:
    case vm::StepHazard::loads_stack_segment:
      if (in_order) {
        TRY(hold_interrupts(now));
        return caught;
      }
      break;
    case vm::StepHazard::software_interrupt:
    case vm::StepHazard::none:
      break;
  }
  if (caught && stepping_) TRY(clear_frame_flag(now));
  return caught;
}

/// Back to a planted HLT, as if it had not been executed.
Status StepGuard::step_back() {
  TRY_ASSIGN(const kvm_sync_regs* registers, registers_.get());
  kvm_regs regs = registers->regs;
  --regs.rip;
  return write(regs);
}

/// In the word of RFLAGS at the top of the stack. The flag is bit 0 of byte 1 in every size.
Status StepGuard::clear_saved_flag(const vm::CpuState& cpu, uint64_t stack_offset) {
  uint8_t byte = 0;
  vm::GuestVirt at{stack_top(cpu) + stack_offset + 1};
  if (vm::read_virtual(cpu, memory_, at, {&byte, 1}) != 1) return {};
  byte &= static_cast<uint8_t>(~(kTrapFlag >> 8));
  return vm::write_virtual(cpu, memory_, at, {&byte, 1}, vm::Writer::cpu);
}

/// Frames hold, from the top on, an error code or none, RIP, CS and RFLAGS, in words that the gate decides on.
Status StepGuard::clear_frame_flag(const vm::CpuState& in_handler) {
  std::array<uint8_t, 32> frame{};
  size_t got = vm::read_virtual(in_handler, memory_, {stack_top(in_handler)}, frame);
  bool long_mode = (before_.efer & kLongModeActive) != 0;
  for (size_t width : {size_t{8}, size_t{4}, size_t{2}}) {
    if (long_mode != (width == 8)) continue;
    for (size_t error_codes : {size_t{0}, size_t{1}}) {
      size_t flags = (error_codes + 2) * width;
      if (flags + width > got) continue;
      auto selector = load_le<uint16_t>(frame.data() + flags - width);
      if (selector == before_.segment[vm::cs].selector && is_saved_flags(load_le<uint16_t>(frame.data() + flags), before_))
        return clear_saved_flag(in_handler, flags);
    }
  }
  return {};
}

Status StepGuard::clear_r11() {
  TRY_ASSIGN(const kvm_sync_regs* registers, registers_.get());
  kvm_regs regs = registers->regs;
  regs.r11 &= ~kTrapFlag;
  return write(regs);
}

/// The shadow is gone where a planted HLT ended it. An STI has none where IF was set.
Status StepGuard::hold_interrupts(const vm::CpuState& now) {
  if (now.interrupt_shadow != 0) return {};
  bool loads_ss = next_.hazard == vm::StepHazard::loads_stack_segment;
  bool sets_if = ((before_.rflags ^ now.rflags) & vm::kRflagsIf) != 0;
  if (loads_ss ? before_.interrupt_shadow != 0 : !sets_if) return {};
  kvm_vcpu_events events{};
  TRY(kvm_ioctl(vcpu_fd_, KVM_GET_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS", &events));
  events.flags = KVM_VCPUEVENT_VALID_SHADOW;
  events.interrupt.shadow = loads_ss ? KVM_X86_SHADOW_INT_MOV_SS : KVM_X86_SHADOW_INT_STI;
  TRY(kvm_ioctl(vcpu_fd_, KVM_SET_VCPU_EVENTS, "KVM_SET_VCPU_EVENTS", &events));
  registers_.invalidate();
  return {};
}

}  // namespace dejavm::kvm
