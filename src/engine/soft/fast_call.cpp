// INT n and its relatives; SYSCALL, SYSRET, SYSENTER and SYSEXIT (AMD64 APM volume 2, section 6.1; volume 3).
#include "engine/soft/descriptors.h"
#include "engine/soft/far_control.h"
#include "engine/soft/flags.h"
#include "engine/soft/interrupt_delivery.h"

namespace dejavm::soft {
namespace {

constexpr uint64_t kEferSyscall = 1;
/// What SYSRET takes of R11: everything but RF and VM.
constexpr uint64_t kSysretFlags = 0x3c7fd5;

enum class CodeSize : uint8_t { bits_32, bits_64 };

vm::Segment flat(uint16_t selector, uint8_t type, unsigned dpl) {
  vm::Segment segment{.limit = 0xffffffff, .selector = selector, .type = type, .s = 1, .present = 1, .db = 1, .g = 1};
  segment.dpl = static_cast<uint8_t>(dpl);
  return segment;
}

/// The segments that these instructions set without looking at a descriptor.
void set_flat_segments(Core& core, unsigned code_selector, unsigned stack_selector, unsigned cpl, CodeSize size) {
  vm::Segment code = flat(static_cast<uint16_t>(code_selector), 11, cpl);
  if (size == CodeSize::bits_64) {
    code.l = 1;
    code.db = 0;
  }
  core.cpu.segment[vm::cs] = code;
  core.cpu.segment[vm::ss] = flat(static_cast<uint16_t>(stack_selector), 3, cpl);
}

void enter_software(Core& core, uint8_t vector) {
  deliver(core, EventKind::software, vector, std::nullopt, core.next_rip);
  core.next_rip = core.cpu.rip;
}

}  // namespace

void software_interrupt(Core& core, const Instruction& insn) {
  if (core.virtual_8086() && (core.cpu.rflags & kIopl) != kIopl) raise_gp();
  enter_software(core, static_cast<uint8_t>(insn.immediate));
}

void breakpoint_interrupt(Core& core, const Instruction&) { enter_software(core, kBreakpoint); }

void overflow_interrupt(Core& core, const Instruction&) {
  if ((core.cpu.rflags & kOf) != 0) enter_software(core, kOverflow);
}

void debug_interrupt(Core& core, const Instruction&) {
  core.cpu.rip = core.next_rip;
  ++core.steps;  // its trap counts none
  throw GuestFault{kDebug, std::nullopt, true};
}

void system_call(Core& core, const Instruction&) {
  vm::CpuState& cpu = core.cpu;
  if ((cpu.efer & kEferSyscall) == 0 || core.segments_are_shifted()) raise(kInvalidOpcode);
  auto base = static_cast<unsigned>(cpu.star >> 32 & 0xffff);
  bool long_mode = core.long_mode_active();
  bool from_64_bit = core.code_bits() == 64;
  if (long_mode) {
    cpu.gpr[vm::rcx] = core.next_rip;
    cpu.gpr[vm::r11] = cpu.rflags & ~kRf;
    core.next_rip = from_64_bit ? cpu.lstar : cpu.cstar;
    cpu.rflags = (cpu.rflags & ~cpu.sfmask & ~kRf) | 2;
  } else {
    cpu.gpr[vm::rcx] = static_cast<uint32_t>(core.next_rip);
    core.next_rip = static_cast<uint32_t>(cpu.star);
    cpu.rflags &= ~(kVm | kIf | kRf);
  }
  set_flat_segments(core, base & 0xfffc, (base & 0xfffc) + 8, 0, long_mode ? CodeSize::bits_64 : CodeSize::bits_32);
  core.state_changed();
}

void system_return(Core& core, const Instruction& insn) {
  vm::CpuState& cpu = core.cpu;
  if ((cpu.efer & kEferSyscall) == 0) raise(kInvalidOpcode);
  if (core.segments_are_shifted() || core.cpl() != 0) raise_gp();
  auto base = static_cast<unsigned>(cpu.star >> 48);
  bool to_64_bit = insn.operand_size == 8;
  core.next_rip = to_64_bit ? cpu.gpr[vm::rcx] : static_cast<uint32_t>(cpu.gpr[vm::rcx]);
  if (core.long_mode_active()) {
    cpu.rflags = (cpu.gpr[vm::r11] & kSysretFlags) | 2;
  } else {
    cpu.rflags |= kIf;
  }
  unsigned code = to_64_bit ? base + 16 : base;
  set_flat_segments(core, code | 3, (base + 8) | 3, 3, to_64_bit ? CodeSize::bits_64 : CodeSize::bits_32);
  core.state_changed();
}

void system_enter(Core& core, const Instruction&) {
  vm::CpuState& cpu = core.cpu;
  if (core.long_mode_active()) raise(kInvalidOpcode);  // AMD's have it in legacy mode only
  if (!core.protected_mode() || (cpu.sysenter_cs & 0xfffc) == 0) raise_gp();
  auto base = static_cast<unsigned>(cpu.sysenter_cs & 0xfffc);
  cpu.rflags &= ~(kVm | kIf | kRf);
  set_flat_segments(core, base, base + 8, 0, CodeSize::bits_32);
  core.next_rip = static_cast<uint32_t>(cpu.sysenter_eip);
  cpu.gpr[vm::rsp] = static_cast<uint32_t>(cpu.sysenter_esp);
  core.state_changed();
}

void system_exit(Core& core, const Instruction&) {
  vm::CpuState& cpu = core.cpu;
  if (core.long_mode_active()) raise(kInvalidOpcode);
  if (core.segments_are_shifted() || core.cpl() != 0 || (cpu.sysenter_cs & 0xfffc) == 0) raise_gp();
  auto base = static_cast<unsigned>(cpu.sysenter_cs & 0xffff);
  set_flat_segments(core, (base + 16) | 3, (base + 24) | 3, 3, CodeSize::bits_32);
  core.next_rip = static_cast<uint32_t>(cpu.gpr[vm::rdx]);
  cpu.gpr[vm::rsp] = static_cast<uint32_t>(cpu.gpr[vm::rcx]);
  core.state_changed();
}

}  // namespace dejavm::soft
