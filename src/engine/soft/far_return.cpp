// RET far and IRET.
#include "engine/soft/descriptors.h"
#include "engine/soft/far_control.h"
#include "engine/soft/flags.h"
#include "engine/soft/operands.h"
#include "engine/soft/segment_limits.h"
#include "engine/soft/task_switch.h"

namespace dejavm::soft {
namespace {

/// What IRET may change in RFLAGS whoever executes it.
constexpr uint64_t kReturnedFlags = kStatusFlags | kTf | kDf | kNt | kRf | kAc | kId;

unsigned iopl(const Core& core) { return static_cast<unsigned>(core.cpu.rflags >> 12 & 3); }

/// The code segment that a return goes to.
struct ReturnTarget {
  uint16_t selector = 0;
  uint64_t descriptor = 0;
  unsigned cpl = 0;
  uint64_t rip = 0;
  bool is_64_bit = false;
};

ReturnTarget read_target(Core& core, uint16_t selector, uint64_t rip) {
  if (is_null(selector)) raise_gp();
  ReturnTarget target{selector, read_descriptor(core, selector), selector & 3u, rip, false};
  unsigned dpl = descriptor_dpl(target.descriptor);
  bool privileged = descriptor_conforms(target.descriptor) ? dpl <= target.cpl : dpl == target.cpl;
  target.is_64_bit = core.long_mode_active() && descriptor_is_64_bit_code(target.descriptor);
  bool both_sizes = target.is_64_bit && descriptor_is_32_bit(target.descriptor);
  if (!descriptor_is_code(target.descriptor) || target.cpl < core.cpl() || !privileged || both_sizes) {
    raise(kGeneralProtection, selector_error(selector));
  }
  if (!descriptor_present(target.descriptor)) raise(kSegmentNotPresent, selector_error(selector));
  check_code_offset(core, target.descriptor, rip);
  return target;
}

/// Less privileged code must not keep what it could not load itself.
void drop_privileged_segments(Core& core) {
  for (vm::SegmentName name : {vm::es, vm::ds, vm::fs, vm::gs}) {
    const vm::Segment& segment = core.cpu.segment[name];
    bool conforming_code = (segment.type & (kTypeCode | kTypeDownOrConforming)) == (kTypeCode | kTypeDownOrConforming);
    if (segment.unusable == 0 && segment.dpl < core.cpl() && !conforming_code) core.cpu.segment[name] = null_segment(0);
  }
}

/// To a target that comes with a stack of its own.
void return_with_stack(Core& core, const ReturnTarget& target, uint16_t stack_selector, uint64_t pointer) {
  unsigned old_cpl = core.cpl();
  vm::Segment stack;
  if (is_null(stack_selector)) {
    if (!target.is_64_bit || target.cpl == 3) raise_gp();
    stack = null_stack_segment(stack_selector, target.cpl);
  } else {
    uint64_t descriptor = read_stack_descriptor(core, stack_selector, target.cpl, kGeneralProtection);
    stack = take_segment(core, stack_selector, descriptor, Loader::transfer);
  }
  core.cpu.segment[vm::ss] = stack;
  load_code_segment(core, target.selector, target.descriptor, target.cpl);
  core.next_rip = target.rip;
  set_stack_pointer(core, pointer);
  if (target.cpl > old_cpl) drop_privileged_segments(core);
  core.state_changed();
}

void return_on_same_stack(Core& core, const ReturnTarget& target, uint64_t popped) {
  set_stack_pointer(core, core.cpu.gpr[vm::rsp] + popped);
  load_code_segment(core, target.selector, target.descriptor, target.cpl);
  core.next_rip = target.rip;
}

void return_shifted(Core& core, uint16_t selector, uint64_t rip, uint64_t popped) {
  if (rip > core.cpu.segment[vm::cs].limit) raise_gp();
  set_stack_pointer(core, core.cpu.gpr[vm::rsp] + popped);
  core.cpu.segment[vm::cs] = shifted_segment(core, vm::cs, selector);
  core.next_rip = rip;
  core.state_changed();
}

/// Replaces those flags that `changeable` names; a 16-bit IRET knows only the lower ones.
void set_flags(Core& core, uint64_t flags, uint64_t changeable, unsigned size) {
  if (size == 2) changeable &= 0xffff;
  core.cpu.rflags = (core.cpu.rflags & ~changeable) | (flags & changeable);
  core.state_changed();
}

/// From a protected-mode monitor to virtual-8086 code: all segments are on the stack.
void return_to_virtual_8086(Core& core, uint64_t rip, uint16_t code, uint64_t flags) {
  uint64_t pointer = peek_stack(core, 4, 12);
  uint16_t selectors[6]{};
  selectors[vm::cs] = code;
  constexpr struct {
    vm::SegmentName name;
    uint8_t offset;
  } kSaved[] = {{vm::ss, 16}, {vm::es, 20}, {vm::ds, 24}, {vm::fs, 28}, {vm::gs, 32}};
  for (const auto& saved : kSaved) selectors[saved.name] = static_cast<uint16_t>(peek_stack(core, 4, saved.offset));
  for (unsigned i = 0; i < 6; ++i) {
    core.cpu.segment[i] = shifted_segment(core, static_cast<vm::SegmentName>(i), selectors[i]);
  }
  core.cpu.gpr[vm::rsp] = pointer;
  core.next_rip = rip & 0xffff;
  set_flags(core, flags, kReturnedFlags | kIf | kIopl | kVm | kVif | kVip, 4);
}

void return_protected(Core& core, unsigned size, uint64_t rip, uint16_t code, uint64_t flags) {
  bool to_virtual_8086 = size == 4 && (flags & kVm) != 0 && core.cpl() == 0 && !core.long_mode_active();
  if (to_virtual_8086) {
    return_to_virtual_8086(core, rip, code, flags);
    return;
  }
  uint64_t changeable = kReturnedFlags;
  if (core.cpl() <= iopl(core)) changeable |= kIf;
  if (core.cpl() == 0) changeable |= kIopl | kVif | kVip;
  ReturnTarget target = read_target(core, code, rip);
  if (target.cpl > core.cpl() || core.code_bits() == 64) {
    uint64_t pointer = peek_stack(core, size, uint64_t{size} * 3);
    auto stack = static_cast<uint16_t>(peek_stack(core, size, uint64_t{size} * 4));
    return_with_stack(core, target, stack, pointer);
  } else {
    return_on_same_stack(core, target, uint64_t{size} * 3);
  }
  set_flags(core, flags, changeable, size);
}

}  // namespace

void far_return(Core& core, const Instruction& insn) {
  unsigned size = insn.operand_size;
  uint64_t released = insn.has_immediate ? insn.immediate & 0xffff : 0;
  uint64_t rip = peek_stack(core, size);
  auto selector = static_cast<uint16_t>(peek_stack(core, size, size));
  uint64_t popped = uint64_t{size} * 2 + released;
  if (core.segments_are_shifted()) {
    return_shifted(core, selector, rip, popped);
    return;
  }
  ReturnTarget target = read_target(core, selector, rip);
  if (target.cpl == core.cpl()) {
    return_on_same_stack(core, target, popped);
    return;
  }
  uint64_t pointer = peek_stack(core, size, popped);
  auto stack = static_cast<uint16_t>(peek_stack(core, size, popped + size));
  return_with_stack(core, target, stack, pointer + released);
}

void interrupt_return(Core& core, const Instruction& insn) {
  unsigned size = insn.operand_size;
  bool virtual_8086 = core.virtual_8086();
  if (virtual_8086 && iopl(core) < 3) raise_gp();
  bool nested = core.protected_mode() && !virtual_8086 && (core.cpu.rflags & kNt) != 0;
  if (nested) {
    if (core.long_mode_active()) raise_gp();
    return_from_task(core);
    core.next_rip = core.cpu.rip;
    core.cpu.nmi_masked = 0;
    return;
  }
  uint64_t rip = peek_stack(core, size);
  auto selector = static_cast<uint16_t>(peek_stack(core, size, size));
  uint64_t flags = peek_stack(core, size, uint64_t{size} * 2);
  if (core.segments_are_shifted()) {
    return_shifted(core, selector, rip, uint64_t{size} * 3);
    set_flags(core, flags, kReturnedFlags | kIf | (virtual_8086 ? 0 : kIopl), size);
  } else {
    return_protected(core, size, rip, selector, flags);
  }
  core.cpu.nmi_masked = 0;
}

}  // namespace dejavm::soft
