#include "engine/soft/interrupt_delivery.h"

#include "engine/soft/descriptors.h"
#include "engine/soft/flags.h"
#include "engine/soft/segment_limits.h"
#include "engine/soft/stack_frame.h"
#include "engine/soft/task_switch.h"

namespace dejavm::soft {
namespace {

constexpr uint64_t kDr7GeneralDetect = 1u << 13;

struct Event {
  EventKind kind;
  uint8_t vector;
  std::optional<uint32_t> error_code;
  uint64_t return_rip;
  uint64_t pushed_flags;

  /// The EXT bit of error codes that name a selector.
  uint32_t ext() const { return kind == EventKind::software ? 0 : 1; }
  /// The error code that names the gate.
  uint32_t gate_error() const { return vector * 8u | 2 | ext(); }
};

/// Faults push RF set, so that the instruction is not stopped by its own breakpoint again (AMD64 APM volume 2, section
/// 3.1.6); KVM does the same for what it injects, and leaves #DB and #DF as they are.
uint64_t flags_to_push(const Core& core, EventKind kind, uint8_t vector) {
  bool fault = kind == EventKind::exception && vector != kDebug && vector != kDoubleFault && vector != kBreakpoint &&
               vector != kOverflow;
  // QEMU's TCG never sets it; kvm-amd on it does for those that it intercepts and injects again.
  if (core.features.tcg) fault = kind == EventKind::exception && (vector == kInvalidOpcode || vector == kAlignmentCheck);
  return fault ? core.cpu.rflags | kRf : core.cpu.rflags;
}

void deliver_real(Core& core, const Event& event) {
  uint64_t entry = uint64_t{event.vector} * 4;
  if (entry + 3 > core.cpu.idt.limit) raise(kGeneralProtection, event.gate_error());
  auto target = core.memory.read<uint32_t>(static_cast<uint32_t>(core.cpu.idt.base + entry), Rights::system);
  FrameWriter frame(core, current_stack(core), 0);
  frame.push(2, event.pushed_flags);
  frame.push(2, core.cpu.segment[vm::cs].selector);
  frame.push(2, event.return_rip);
  frame.install();
  core.cpu.segment[vm::cs] = shifted_segment(core, vm::cs, static_cast<uint16_t>(target >> 16));
  core.cpu.rip = target & 0xffff;
  core.cpu.rflags &= ~(kIf | kTf | kAc | kRf);
}

/// The handler's code segment and the privilege it runs at.
struct Target {
  uint16_t selector = 0;
  uint64_t descriptor = 0;
  unsigned cpl = 0;
};

Target find_target(Core& core, const Event& event, uint16_t selector) {
  if (is_null(selector)) raise(kGeneralProtection, event.ext());
  uint32_t error = selector_error(selector) | event.ext();
  uint64_t address = 0;
  if (!find_descriptor(core, selector, 8, address)) raise(kGeneralProtection, error);
  Target target{selector, core.memory.read<uint64_t>(address, Rights::system), core.cpl()};
  unsigned dpl = descriptor_dpl(target.descriptor);
  if (!descriptor_is_code(target.descriptor) || dpl > core.cpl()) raise(kGeneralProtection, error);
  bool conforms = descriptor_conforms(target.descriptor);
  if (core.virtual_8086() && (conforms || dpl != 0)) raise(kGeneralProtection, error);
  if (core.long_mode_active()) {
    bool is_64_bit = descriptor_is_64_bit_code(target.descriptor) && !descriptor_is_32_bit(target.descriptor);
    if (!is_64_bit) raise(kGeneralProtection, error);
  }
  if (!descriptor_present(target.descriptor)) raise(kSegmentNotPresent, error);
  if (!conforms) target.cpl = dpl;
  return target;
}

void enter_handler(Core& core, const Target& target, uint64_t rip, bool interrupt_gate) {
  core.cpu.rflags &= ~(kTf | kNt | kRf | kVm);
  if (interrupt_gate) core.cpu.rflags &= ~kIf;
  load_code_segment(core, target.selector, target.descriptor, target.cpl);
  core.cpu.rip = rip;
}

void check_gate(const Core& core, const Event& event, uint64_t gate) {
  if (event.kind == EventKind::software && descriptor_dpl(gate) < core.cpl()) raise(kGeneralProtection, event.gate_error());
  if (!descriptor_present(gate)) raise(kSegmentNotPresent, event.gate_error());
}

void deliver_long(Core& core, const Event& event) {
  uint64_t entry = uint64_t{event.vector} * 16;
  if (entry + 15 > core.cpu.idt.limit) raise(kGeneralProtection, event.gate_error());
  auto gate = core.memory.read<uint64_t>(core.cpu.idt.base + entry, Rights::system);
  auto high = core.memory.read<uint64_t>(core.cpu.idt.base + entry + 8, Rights::system);
  unsigned type = descriptor_type(gate);
  bool is_gate = descriptor_is_system(gate) && (type == kInterruptGate32 || type == kTrapGate32);
  if (!is_gate) raise(kGeneralProtection, event.gate_error());
  check_gate(core, event, gate);
  Target target = find_target(core, event, gate_selector(gate));
  uint64_t rip = (gate & 0xffff) | (gate >> 32 & 0xffff0000) | high << 32;
  if (!Core::canonical(rip)) raise(kGeneralProtection, event.ext());

  bool inner = target.cpl < core.cpl();
  auto ist = static_cast<unsigned>(gate >> 32 & 7);
  Stack stack = current_stack(core);
  if (ist != 0 || inner) {
    unsigned offset = ist != 0 ? kTss64Ist1 + 8 * (ist - 1) : kTss64Rsp0 + 8 * target.cpl;
    Stack from_tss = inner_stack_64(core, target.cpl, offset, event.ext());
    stack.pointer = from_tss.pointer;
    if (inner) stack = from_tss;
  }
  stack.is_64_bit = true;
  stack.cpl = target.cpl;
  stack.pointer &= ~uint64_t{15};
  FrameWriter frame(core, stack, event.ext());
  frame.push(8, core.cpu.segment[vm::ss].selector);
  frame.push(8, core.cpu.gpr[vm::rsp]);
  frame.push(8, event.pushed_flags);
  frame.push(8, core.cpu.segment[vm::cs].selector);
  frame.push(8, event.return_rip);
  if (event.error_code) frame.push(8, *event.error_code);
  frame.install();
  enter_handler(core, target, rip, type == kInterruptGate32);
}

/// Virtual-8086 code's data segments go onto the handler's stack, which finds them null.
void push_virtual_8086_segments(Core& core, FrameWriter& frame, unsigned size) {
  for (vm::SegmentName name : {vm::gs, vm::fs, vm::ds, vm::es}) {
    frame.push(size, core.cpu.segment[name].selector);
    core.cpu.segment[name] = null_segment(0);
  }
}

void deliver_through_gate(Core& core, const Event& event, uint64_t gate) {
  unsigned type = descriptor_type(gate);
  bool gate_32 = type >= kInterruptGate32;
  unsigned size = gate_32 ? 4 : 2;
  Target target = find_target(core, event, gate_selector(gate));
  uint64_t rip = (gate & 0xffff) | (gate_32 ? gate >> 32 & 0xffff0000 : 0);
  vm::Segment code = unpack_descriptor(target.selector, target.descriptor);
  if (rip > code.limit) raise(kGeneralProtection, event.ext());

  bool inner = target.cpl < core.cpl();
  Stack stack = inner ? inner_stack(core, target.cpl, event.ext()) : current_stack(core);
  uint32_t stack_error = (inner ? selector_error(stack.segment.selector) : 0) | event.ext();
  FrameWriter frame(core, stack, stack_error);
  if (core.virtual_8086()) push_virtual_8086_segments(core, frame, size);
  if (inner) {
    frame.push(size, core.cpu.segment[vm::ss].selector);
    frame.push(size, core.cpu.gpr[vm::rsp]);
  }
  frame.push(size, event.pushed_flags);
  frame.push(size, core.cpu.segment[vm::cs].selector);
  frame.push(size, event.return_rip);
  if (event.error_code) frame.push(size, *event.error_code);
  frame.install();
  enter_handler(core, target, rip, type == kInterruptGate16 || type == kInterruptGate32);
}

void deliver_protected(Core& core, const Event& event) {
  uint64_t entry = uint64_t{event.vector} * 8;
  if (entry + 7 > core.cpu.idt.limit) raise(kGeneralProtection, event.gate_error());
  auto gate = core.memory.read<uint64_t>(static_cast<uint32_t>(core.cpu.idt.base + entry), Rights::system);
  if (!descriptor_is_system(gate)) raise(kGeneralProtection, event.gate_error());
  switch (descriptor_type(gate)) {
    case kTaskGate:
      check_gate(core, event, gate);
      core.cpu.rflags = event.pushed_flags;
      switch_task(core, TaskEntry::interrupt, gate_selector(gate), event.return_rip, event.ext(), event.error_code);
      return;
    case kInterruptGate16:
    case kTrapGate16:
    case kInterruptGate32:
    case kTrapGate32:
      check_gate(core, event, gate);
      deliver_through_gate(core, event, gate);
      return;
    default:
      raise(kGeneralProtection, event.gate_error());
  }
}

}  // namespace

void deliver(Core& core, EventKind kind, uint8_t vector, std::optional<uint32_t> error_code, uint64_t return_rip) {
  Event event{kind, vector, error_code, return_rip, flags_to_push(core, kind, vector)};
  if (!core.protected_mode()) {
    deliver_real(core, event);
  } else if (core.long_mode_active()) {
    deliver_long(core, event);
  } else {
    deliver_protected(core, event);
  }
  // The handler of a debug exception may use the debug registers.
  if (kind == EventKind::exception && vector == kDebug) core.cpu.dr7 &= ~kDr7GeneralDetect;
  core.state_changed();
}

}  // namespace dejavm::soft
