// Instructions that load, store and look at segment registers. `other` is the number of the segment register.
#include <initializer_list>
#include <utility>

#include "engine/soft/control_registers.h"
#include "engine/soft/decode.h"
#include "engine/soft/descriptors.h"
#include "engine/soft/flags.h"
#include "engine/soft/operands.h"
#include "engine/soft/segment_limits.h"

namespace dejavm::soft {
namespace {

constexpr uint8_t kMovSsShadow = 2;

vm::SegmentName segment_operand(const Instruction& insn) { return static_cast<vm::SegmentName>(insn.other); }

void load_with_shadow(Core& core, vm::SegmentName name, uint16_t selector) {
  load_segment(core, name, selector);
  if (name == vm::ss) core.cpu.interrupt_shadow = kMovSsShadow;
}

void move_to_segment(Core& core, const Instruction& insn) {
  uint16_t selector = insn.has_memory ? read_memory<uint16_t>(core, insn) : read_register<uint16_t>(core, insn.reg);
  load_with_shadow(core, segment_operand(insn), selector);
}

/// CS is loaded by transfers only.
[[noreturn]] void invalid_destination(Core&, const Instruction&) { raise(kInvalidOpcode); }

void move_from_segment(Core& core, const Instruction& insn) {
  uint16_t selector = core.cpu.segment[insn.other].selector;
  if (insn.has_memory) {
    write_memory<uint16_t>(core, insn, selector);
  } else {
    write_register(core, insn.reg, insn.operand_size, selector);
  }
}

/// A 32-bit push of a selector leaves the upper half of its slot alone, as KVM does it; CpuKind::tcg clears it.
void push_segment(Core& core, const Instruction& insn) {
  unsigned written = insn.operand_size == 4 && !core.features.tcg ? 2 : insn.operand_size;
  poke_stack(core, written, insn.operand_size, core.cpu.segment[insn.other].selector);
  set_stack_pointer(core, core.cpu.gpr[vm::rsp] - insn.operand_size);
}

/// SS may change the width of the stack pointer, so that the old width's new pointer is computed first.
void pop_segment(Core& core, const Instruction& insn) {
  auto selector = static_cast<uint16_t>(peek_stack(core, 2));
  uint64_t mask = stack_mask(core);
  load_with_shadow(core, segment_operand(insn), selector);
  uint64_t& rsp = core.cpu.gpr[vm::rsp];
  uint64_t kept = mask == 0xffff ? rsp & ~mask : 0;
  rsp = kept | ((rsp + insn.operand_size) & mask);
}

void load_far_pointer(Core& core, const Instruction& insn) {
  FarPointer pointer = read_far_pointer(core, insn);
  load_segment(core, segment_operand(insn), pointer.selector);
  write_register(core, insn.reg, insn.operand_size, pointer.offset);
}

// ---- LAR, LSL, VERR, VERW, ARPL

void set_zero_flag(Core& core, bool value) { core.cpu.rflags = value ? core.cpu.rflags | kZf : core.cpu.rflags & ~kZf; }

void require_protected(const Core& core) {
  if (core.segments_are_shifted()) raise(kInvalidOpcode);
}

/// The selector that the instruction asks about; its register, with a destination register before it, is `other`.
uint16_t asked_selector(Core& core, const Instruction& insn) {
  return insn.has_memory ? read_memory<uint16_t>(core, insn) : read_register<uint16_t>(core, insn.other);
}

/// False when the selector names nothing that the program may see.
bool look_up(Core& core, uint16_t selector, uint64_t& descriptor) {
  uint64_t address = 0;
  if (is_null(selector) || !find_descriptor(core, selector, 8, address)) return false;
  descriptor = core.memory.read<uint64_t>(address, Rights::system);
  if (descriptor_conforms(descriptor) && !descriptor_is_system(descriptor)) return true;
  unsigned dpl = descriptor_dpl(descriptor);
  return core.cpl() <= dpl && (selector & 3u) <= dpl;
}

bool in_set(unsigned type, std::initializer_list<SystemType> types) {
  for (SystemType candidate : types) {
    if (candidate == type) return true;
  }
  return false;
}

bool has_access_rights(const Core& core, unsigned type) {
  if (core.long_mode_active()) return in_set(type, {kLdt, kTss32, kTss32Busy, kCallGate32});
  return in_set(type, {kTss16, kLdt, kTss16Busy, kCallGate16, kTaskGate, kTss32, kTss32Busy, kCallGate32});
}

bool has_limit(const Core& core, unsigned type) {
  if (core.long_mode_active()) return in_set(type, {kLdt, kTss32, kTss32Busy});
  return in_set(type, {kTss16, kLdt, kTss16Busy, kTss32, kTss32Busy});
}

void load_access_rights(Core& core, const Instruction& insn) {
  require_protected(core);
  uint64_t descriptor = 0;
  bool found = look_up(core, asked_selector(core, insn), descriptor);
  found = found && (!descriptor_is_system(descriptor) || has_access_rights(core, descriptor_type(descriptor)));
  if (found) write_register(core, insn.reg, insn.operand_size, descriptor >> 32 & 0x00ffff00);
  set_zero_flag(core, found);
}

void load_segment_limit(Core& core, const Instruction& insn) {
  require_protected(core);
  uint64_t descriptor = 0;
  bool found = look_up(core, asked_selector(core, insn), descriptor);
  found = found && (!descriptor_is_system(descriptor) || has_limit(core, descriptor_type(descriptor)));
  if (found) write_register(core, insn.reg, insn.operand_size, unpack_descriptor(0, descriptor).limit);
  set_zero_flag(core, found);
}

void verify(Core& core, const Instruction& insn, bool write) {
  require_protected(core);
  uint64_t descriptor = 0;
  bool found = look_up(core, asked_selector(core, insn), descriptor) && !descriptor_is_system(descriptor);
  bool code = (descriptor_type(descriptor) & kTypeCode) != 0;
  bool second = (descriptor_type(descriptor) & kTypeWritableOrReadable) != 0;
  set_zero_flag(core, found && (write ? !code && second : !code || second));
}

void verify_read(Core& core, const Instruction& insn) { verify(core, insn, false); }
void verify_write(Core& core, const Instruction& insn) { verify(core, insn, true); }

/// ARPL: raises the selector's RPL in the first operand to that in the second.
void adjust_privilege(Core& core, const Instruction& insn) {
  require_protected(core);
  uint64_t at = 0;
  uint16_t selector = 0;
  uint8_t source = insn.has_memory ? insn.reg : insn.other;
  if (insn.has_memory) {
    at = effective_address(core, insn, 2, true);
    core.memory.probe_write(at, 2);
    selector = core.memory.read<uint16_t>(at);
  } else {
    selector = read_register<uint16_t>(core, insn.reg);
  }
  unsigned wanted = read_register<uint16_t>(core, source) & 3u;
  bool raised = (selector & 3u) < wanted;
  if (raised) {
    auto adjusted = static_cast<uint16_t>((selector & ~3u) | wanted);
    if (insn.has_memory) {
      core.memory.write<uint16_t>(at, adjusted);
    } else {
      write_register<uint16_t>(core, insn.reg, adjusted);
    }
  }
  set_zero_flag(core, raised);
}

// ---- The bases of FS and GS in 64-bit mode

void swap_gs(Core& core, const Instruction&) {
  if (core.cpl() != 0) raise_gp();
  std::swap(core.cpu.segment[vm::gs].base, core.cpu.kernel_gs_base);
}

void require_base_instructions(const Core& core) {
  if ((core.cpu.cr4 & kCr4FsGsBase) == 0) raise(kInvalidOpcode);
}

void read_base(Core& core, const Instruction& insn) {
  require_base_instructions(core);
  write_register(core, insn.reg, insn.operand_size, core.cpu.segment[insn.other].base);
}

void write_base(Core& core, const Instruction& insn) {
  require_base_instructions(core);
  uint64_t base = read_register(core, insn.reg, insn.operand_size);
  if (!Core::canonical(base)) raise_gp();
  core.cpu.segment[insn.other].base = base;
}

// ---- Binding

/// The number of the segment register among the visible operands, and which operand it is.
bool find_segment(const Decoded& decoded, int& operand, uint8_t& number) {
  for (int i = 0; i < decoded.insn.operand_count_visible; ++i) {
    if (!decoded.is_register(i)) continue;
    ZydisRegister reg = decoded.operands[i].reg.value;
    if (ZydisRegisterGetClass(reg) != ZYDIS_REGCLASS_SEGMENT) continue;
    operand = i;
    number = static_cast<uint8_t>(reg - ZYDIS_REGISTER_ES);  // Zydis has them in the order of their encoding
    return true;
  }
  return false;
}

/// Bytes of stack that PUSH and POP of a segment register move by.
uint8_t slot_size(const Decoded& decoded) {
  if (decoded.code_bits != 64) return static_cast<uint8_t>(decoded.insn.operand_width / 8);
  bool shortened = (decoded.insn.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) != 0 && decoded.insn.raw.rex.W == 0;
  return shortened ? 2 : 8;
}

bool bind_move(const Decoded& decoded, Instruction& insn) {
  int operand = 0;
  uint8_t number = 0;
  if (!find_segment(decoded, operand, number)) return false;
  insn.other = number;
  switch (decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
      insn.run = push_segment;
      insn.operand_size = slot_size(decoded);
      return true;
    case ZYDIS_MNEMONIC_POP:
      insn.run = pop_segment;
      insn.operand_size = slot_size(decoded);
      insn.ends_block = true;
      return true;
    default:
      break;
  }
  if (operand == 0) {
    insn.run = number == vm::cs ? invalid_destination : move_to_segment;
    insn.ends_block = true;
  } else {
    insn.run = move_from_segment;
    insn.operand_size = static_cast<uint8_t>(decoded.size(0));
  }
  return true;
}

bool bind_far_pointer(vm::SegmentName name, const Decoded& decoded, Instruction& insn) {
  insn.run = load_far_pointer;
  insn.other = name;
  insn.operand_size = static_cast<uint8_t>(decoded.size(0));
  insn.ends_block = true;
  return true;
}

/// LAR, LSL (the first operand is the destination), VERR, VERW, ARPL.
bool bind_look(Handler handler, const Decoded& decoded, Instruction& insn) {
  insn.run = handler;
  if (handler == verify_read || handler == verify_write) insn.other = insn.reg;
  if (handler == load_access_rights || handler == load_segment_limit) {
    insn.operand_size = static_cast<uint8_t>(decoded.size(0));
  }
  return true;
}

bool bind_base(Handler handler, vm::SegmentName name, const Decoded& decoded, Instruction& insn) {
  insn.run = handler;
  insn.other = name;
  insn.operand_size = static_cast<uint8_t>(decoded.size(0));
  return true;
}

}  // namespace

bool bind_segment(const Decoded& decoded, Instruction& insn) {
  switch (decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_POP:
      return bind_move(decoded, insn);
    case ZYDIS_MNEMONIC_LES:
      return bind_far_pointer(vm::es, decoded, insn);
    case ZYDIS_MNEMONIC_LSS:
      return bind_far_pointer(vm::ss, decoded, insn);
    case ZYDIS_MNEMONIC_LDS:
      return bind_far_pointer(vm::ds, decoded, insn);
    case ZYDIS_MNEMONIC_LFS:
      return bind_far_pointer(vm::fs, decoded, insn);
    case ZYDIS_MNEMONIC_LGS:
      return bind_far_pointer(vm::gs, decoded, insn);
    case ZYDIS_MNEMONIC_LAR:
      return bind_look(load_access_rights, decoded, insn);
    case ZYDIS_MNEMONIC_LSL:
      return bind_look(load_segment_limit, decoded, insn);
    case ZYDIS_MNEMONIC_VERR:
      return bind_look(verify_read, decoded, insn);
    case ZYDIS_MNEMONIC_VERW:
      return bind_look(verify_write, decoded, insn);
    case ZYDIS_MNEMONIC_ARPL:
      return bind_look(adjust_privilege, decoded, insn);
    case ZYDIS_MNEMONIC_SWAPGS:
      insn.run = swap_gs;
      return true;
    case ZYDIS_MNEMONIC_RDFSBASE:
      return bind_base(read_base, vm::fs, decoded, insn);
    case ZYDIS_MNEMONIC_RDGSBASE:
      return bind_base(read_base, vm::gs, decoded, insn);
    case ZYDIS_MNEMONIC_WRFSBASE:
      return bind_base(write_base, vm::fs, decoded, insn);
    case ZYDIS_MNEMONIC_WRGSBASE:
      return bind_base(write_base, vm::gs, decoded, insn);
    default:
      return false;
  }
}

}  // namespace dejavm::soft
