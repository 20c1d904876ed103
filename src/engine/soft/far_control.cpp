#include "engine/soft/far_control.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "engine/soft/decode.h"
#include "engine/soft/descriptors.h"
#include "engine/soft/operands.h"
#include "engine/soft/stack_frame.h"
#include "engine/soft/task_switch.h"

namespace dejavm::soft {
namespace {

FarPointer far_operand(Core& core, const Instruction& insn) {
  return insn.has_memory ? read_far_pointer(core, insn)
                         : FarPointer{insn.selector, truncate(insn.immediate, insn.operand_size)};
}

void go_to(Core& core, uint16_t selector, uint64_t descriptor, unsigned cpl, uint64_t offset) {
  check_code_offset(core, descriptor, offset);
  load_code_segment(core, selector, descriptor, cpl);
  core.next_rip = offset;
}

/// A direct JMP or CALL stays at its privilege.
void check_direct(const Core& core, uint16_t selector, uint64_t descriptor) {
  unsigned dpl = descriptor_dpl(descriptor), rpl = selector & 3;
  bool privileged = descriptor_conforms(descriptor) ? dpl <= core.cpl() : dpl == core.cpl() && rpl <= core.cpl();
  bool both_sizes = core.long_mode_active() && descriptor_is_64_bit_code(descriptor) && descriptor_is_32_bit(descriptor);
  if (!privileged || both_sizes) raise(kGeneralProtection, selector_error(selector));
  if (!descriptor_present(descriptor)) raise(kSegmentNotPresent, selector_error(selector));
}

void push_return(Core& core, FrameWriter& frame, unsigned size) {
  frame.push(size, core.cpu.segment[vm::cs].selector);
  frame.push(size, core.next_rip);
}

struct GateTarget {
  uint16_t selector = 0;
  uint64_t descriptor = 0;
  uint64_t offset = 0;
};

GateTarget read_gate_target(Core& core, uint16_t gate_name, uint64_t gate, bool call) {
  bool long_mode = core.long_mode_active();
  GateTarget target{gate_selector(gate), 0, gate & 0xffff};
  if (descriptor_type(gate) == kCallGate32) target.offset |= gate >> 32 & 0xffff0000;
  if (long_mode) {
    uint64_t high = read_descriptor_high(core, gate_name);
    if ((high >> 40 & 0x1f) != 0) raise(kGeneralProtection, selector_error(gate_name));
    target.offset |= high << 32;
  }
  if (is_null(target.selector)) raise_gp();
  target.descriptor = read_descriptor(core, target.selector);
  uint32_t error = selector_error(target.selector);
  unsigned dpl = descriptor_dpl(target.descriptor);
  bool same_only = !call && !descriptor_conforms(target.descriptor);
  bool privileged = same_only ? dpl == core.cpl() : dpl <= core.cpl();
  if (!descriptor_is_code(target.descriptor) || !privileged) raise(kGeneralProtection, error);
  bool is_64_bit = descriptor_is_64_bit_code(target.descriptor) && !descriptor_is_32_bit(target.descriptor);
  if (long_mode && !is_64_bit) raise(kGeneralProtection, error);
  if (!descriptor_present(target.descriptor)) raise(kSegmentNotPresent, error);
  return target;
}

/// A call to more privileged code changes to the stack that the TSS names; legacy gates copy parameters to it.
void call_inner(Core& core, const GateTarget& target, uint64_t gate, unsigned size, unsigned new_cpl) {
  bool long_mode = core.long_mode_active();
  Stack stack = long_mode ? inner_stack_64(core, new_cpl, kTss64Rsp0 + 8 * new_cpl, 0) : inner_stack(core, new_cpl, 0);
  FrameWriter frame(core, stack, selector_error(stack.segment.selector));
  frame.push(size, core.cpu.segment[vm::ss].selector);
  frame.push(size, core.cpu.gpr[vm::rsp]);
  unsigned parameters = long_mode ? 0 : static_cast<unsigned>(gate >> 32 & 31);
  for (unsigned i = parameters; i > 0; --i) frame.push(size, peek_stack(core, size, uint64_t{size} * (i - 1)));
  push_return(core, frame, size);
  check_code_offset(core, target.descriptor, target.offset);
  frame.install();
  go_to(core, target.selector, target.descriptor, new_cpl, target.offset);
}

void through_call_gate(Core& core, uint16_t gate_name, uint64_t gate, bool call) {
  GateTarget target = read_gate_target(core, gate_name, gate, call);
  if (call) {
    bool long_mode = core.long_mode_active();
    unsigned size = long_mode ? 8 : descriptor_type(gate) == kCallGate32 ? 4 : 2;
    unsigned dpl = descriptor_dpl(target.descriptor);
    if (!descriptor_conforms(target.descriptor) && dpl < core.cpl()) {
      call_inner(core, target, gate, size, dpl);
      return;
    }
    Stack stack = current_stack(core);
    stack.is_64_bit = long_mode;
    FrameWriter frame(core, stack, 0);
    push_return(core, frame, size);
    frame.install();
  }
  go_to(core, target.selector, target.descriptor, core.cpl(), target.offset);
}

void through_system_descriptor(Core& core, uint16_t selector, uint64_t descriptor, bool call) {
  unsigned privilege = std::max(core.cpl(), selector & 3u);
  uint32_t error = selector_error(selector);
  unsigned type = descriptor_type(descriptor);
  bool legacy_only = type != kCallGate32;
  bool known = type == kCallGate32 || type == kCallGate16 || type == kTaskGate || type == kTss16 || type == kTss32;
  if (!known || (legacy_only && core.long_mode_active())) raise(kGeneralProtection, error);
  if (descriptor_dpl(descriptor) < privilege) raise(kGeneralProtection, error);
  if (!descriptor_present(descriptor)) raise(kSegmentNotPresent, error);
  if (type == kCallGate16 || type == kCallGate32) {
    through_call_gate(core, selector, descriptor, call);
    return;
  }
  uint16_t tss = type == kTaskGate ? gate_selector(descriptor) : selector;
  switch_task(core, call ? TaskEntry::call : TaskEntry::jump, tss, core.next_rip, 0, std::nullopt);
  core.next_rip = core.cpu.rip;
}

void transfer(Core& core, const Instruction& insn, bool call) {
  FarPointer to = far_operand(core, insn);
  if (core.segments_are_shifted()) {
    if (to.offset > core.cpu.segment[vm::cs].limit) raise_gp();
    if (call) {
      FrameWriter frame(core, current_stack(core), 0);
      push_return(core, frame, insn.operand_size);
      frame.install();
    }
    core.cpu.segment[vm::cs] = shifted_segment(core, vm::cs, to.selector);
    core.next_rip = to.offset;
    core.state_changed();
    return;
  }
  if (is_null(to.selector)) raise_gp();
  uint64_t descriptor = read_descriptor(core, to.selector);
  if (descriptor_is_system(descriptor)) {
    through_system_descriptor(core, to.selector, descriptor, call);
    return;
  }
  if (!descriptor_is_code(descriptor)) raise(kGeneralProtection, selector_error(to.selector));
  check_direct(core, to.selector, descriptor);
  check_code_offset(core, descriptor, to.offset);
  if (call) {
    FrameWriter frame(core, current_stack(core), 0);
    push_return(core, frame, insn.operand_size);
    frame.install();
  }
  go_to(core, to.selector, descriptor, core.cpl(), to.offset);
}

Handler handler_of(const Decoded& decoded) {
  bool far = decoded.insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
  switch (decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_JMP:
      return far ? far_jump : nullptr;
    case ZYDIS_MNEMONIC_CALL:
      return far ? far_call : nullptr;
    case ZYDIS_MNEMONIC_RET:
      return far ? far_return : nullptr;
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
      return interrupt_return;
    case ZYDIS_MNEMONIC_INT:
      return software_interrupt;
    case ZYDIS_MNEMONIC_INT1:
      return debug_interrupt;
    case ZYDIS_MNEMONIC_INT3:
      return breakpoint_interrupt;
    case ZYDIS_MNEMONIC_INTO:
      return overflow_interrupt;
    case ZYDIS_MNEMONIC_SYSCALL:
      return system_call;
    case ZYDIS_MNEMONIC_SYSRET:
      return system_return;
    case ZYDIS_MNEMONIC_SYSENTER:
      return system_enter;
    case ZYDIS_MNEMONIC_SYSEXIT:
      return system_exit;
    default:
      return nullptr;
  }
}

/// The others raise what they raise before they change anything.
bool needs_transaction(Handler handler) {
  constexpr Handler kAtOnce[] = {debug_interrupt, system_call, system_return, system_enter, system_exit};
  return std::find(std::begin(kAtOnce), std::end(kAtOnce), handler) == std::end(kAtOnce);
}

unsigned operand_bytes(const Decoded& decoded) {
  switch (decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_IRET:
      return 2;
    case ZYDIS_MNEMONIC_IRETD:
      return 4;
    case ZYDIS_MNEMONIC_IRETQ:
      return 8;
    case ZYDIS_MNEMONIC_SYSRET:
      return (decoded.insn.attributes & ZYDIS_ATTRIB_HAS_REX) != 0 && decoded.insn.raw.rex.W != 0 ? 8 : 4;
    default:
      return decoded.insn.operand_width / 8;
  }
}

}  // namespace

FarPointer read_far_pointer(Core& core, const Instruction& insn) {
  FarPointer pointer;
  size_t size = insn.operand_size, all = size + sizeof pointer.selector;
  uint64_t at = effective_address(core, insn, all, false);
  if (core.memory.checks_alignment()) {  // offset and selector are aligned each for itself
    pointer.offset = read_linear(core, at, insn.operand_size);
    pointer.selector = core.memory.read<uint16_t>(at + size);
    return pointer;
  }
  uint8_t bytes[sizeof pointer.offset + sizeof pointer.selector];
  core.memory.read_bytes(at, bytes, all);
  std::memcpy(&pointer.offset, bytes, size);
  std::memcpy(&pointer.selector, bytes + size, sizeof pointer.selector);
  return pointer;
}

void check_code_offset(const Core& core, uint64_t descriptor, uint64_t offset) {
  bool to_64_bit = core.long_mode_active() && descriptor_is_64_bit_code(descriptor);
  bool valid = to_64_bit ? Core::canonical(offset) : offset <= unpack_descriptor(0, descriptor).limit;
  if (!valid) raise_gp();
}

void far_jump(Core& core, const Instruction& insn) { transfer(core, insn, false); }

void far_call(Core& core, const Instruction& insn) { transfer(core, insn, true); }

bool bind_far_control(const Decoded& decoded, Instruction& insn) {
  Handler handler = handler_of(decoded);
  if (handler == nullptr) return false;
  insn.run = handler;
  insn.operand_size = static_cast<uint8_t>(operand_bytes(decoded));
  insn.ends_block = true;
  insn.transactional = needs_transaction(handler);
  return true;
}

}  // namespace dejavm::soft
