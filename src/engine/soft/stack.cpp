// PUSH, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE (AMD64 APM volume 3). Segment registers are in segment_ops.cpp.
#include "engine/soft/decode.h"
#include "engine/soft/flags.h"
#include "engine/soft/operand_forms.h"

namespace dejavm::soft {
namespace {

template <typename T>
void push_register(Core& core, const Instruction& insn) {
  push(core, sizeof(T), read_register<T>(core, insn.reg));
}
template <typename T>
void push_memory(Core& core, const Instruction& insn) {
  push(core, sizeof(T), read_memory<T>(core, insn));
}
template <typename T>
void push_immediate(Core& core, const Instruction& insn) {
  push(core, sizeof(T), static_cast<T>(insn.immediate));
}

template <typename T>
void pop_register(Core& core, const Instruction& insn) {
  auto value = static_cast<T>(peek_stack(core, sizeof(T)));
  set_stack_pointer(core, core.cpu.gpr[vm::rsp] + sizeof(T));
  write_register<T>(core, insn.reg, value);  // POP rSP: the value wins
}
/// An address in terms of rSP means rSP after the pop.
template <typename T>
void pop_memory(Core& core, const Instruction& insn) {
  auto value = static_cast<T>(peek_stack(core, sizeof(T)));
  uint64_t before = core.cpu.gpr[vm::rsp];
  set_stack_pointer(core, before + sizeof(T));
  uint64_t after = core.cpu.gpr[vm::rsp];
  uint64_t offset = effective_offset(core, insn);
  core.cpu.gpr[vm::rsp] = before;  // the write may throw
  core.memory.write<T>(core.linear(static_cast<vm::SegmentName>(insn.segment), offset, sizeof(T), true), value);
  core.cpu.gpr[vm::rsp] = after;
}

template <typename T>
void push_all(Core& core, const Instruction&) {
  for (uint8_t reg = 0; reg < 8; ++reg) poke_stack(core, sizeof(T), (reg + 1u) * sizeof(T), read_register<T>(core, reg));
  set_stack_pointer(core, core.cpu.gpr[vm::rsp] - 8 * sizeof(T));
}
template <typename T>
void pop_all(Core& core, const Instruction&) {
  T values[8];
  for (unsigned i = 0; i < 8; ++i) values[i] = static_cast<T>(peek_stack(core, sizeof(T), i * sizeof(T)));
  for (uint8_t reg = 0; reg < 8; ++reg) {
    if (reg != vm::rsp) write_register<T>(core, reg, values[7 - reg]);
  }
  set_stack_pointer(core, core.cpu.gpr[vm::rsp] + 8 * sizeof(T));
}

/// Virtual-8086 code must have IOPL 3; the CPU models have no VME.
void check_virtual_8086(const Core& core) {
  if (core.virtual_8086() && (core.cpu.rflags & kIopl) != kIopl) raise_gp();
}

template <typename T>
void push_flags(Core& core, const Instruction&) {
  check_virtual_8086(core);
  push(core, sizeof(T), static_cast<T>(core.cpu.rflags & ~(kRf | kVm)));
}

/// The flags that POPF of this size may change at this privilege.
template <typename T>
uint64_t loadable_flags(const Core& core) {
  uint64_t mask = kStatusFlags | kTf | kDf | kNt;
  if constexpr (sizeof(T) > 2) mask |= kAc | kId;
  uint64_t iopl = (core.cpu.rflags & kIopl) >> 12;
  if (core.cpl() <= iopl) mask |= kIf;
  if (core.cpl() == 0) mask |= kIopl;
  return mask;
}

template <typename T>
void pop_flags(Core& core, const Instruction&) {
  check_virtual_8086(core);
  uint64_t value = peek_stack(core, sizeof(T));
  uint64_t mask = loadable_flags<T>(core);
  uint64_t old = core.cpu.rflags;
  set_stack_pointer(core, core.cpu.gpr[vm::rsp] + sizeof(T));
  core.cpu.rflags = ((old & ~mask) | (value & mask)) & ~kRf;
  if (((old ^ core.cpu.rflags) & kAc) != 0) core.state_changed();
}

/// Pushes rBP, then (levels - 1) frame pointers of the enclosing frames, then its own; and finds the new stack pointer
/// writable.
template <typename T>
void enter(Core& core, const Instruction& insn) {
  unsigned levels = insn.selector & 31;
  uint64_t room = insn.immediate & 0xffff;
  uint64_t depth = sizeof(T);
  poke_stack(core, sizeof(T), depth, read_register<T>(core, vm::rbp));
  auto frame = static_cast<T>(core.cpu.gpr[vm::rsp] - sizeof(T));
  for (unsigned level = 1; level < levels; ++level) {
    uint64_t outer = (core.cpu.gpr[vm::rbp] - level * sizeof(T)) & stack_mask(core);
    uint64_t pointer = core.memory.read<T>(core.linear(vm::ss, outer, sizeof(T), false));
    poke_stack(core, sizeof(T), depth += sizeof(T), pointer);
  }
  if (levels > 0) poke_stack(core, sizeof(T), depth += sizeof(T), frame);
  uint64_t top = (core.cpu.gpr[vm::rsp] - depth - room) & stack_mask(core);
  if (!core.features.tcg) core.memory.probe_write(core.linear(vm::ss, top, sizeof(T), true), sizeof(T));
  set_stack_pointer(core, core.cpu.gpr[vm::rsp] - depth - room);
  write_register<T>(core, vm::rbp, frame);
}

template <typename T>
void leave(Core& core, const Instruction&) {
  uint64_t frame = core.cpu.gpr[vm::rbp] & stack_mask(core);
  T outer = core.memory.read<T>(core.linear(vm::ss, frame, sizeof(T), false));
  set_stack_pointer(core, frame + sizeof(T));
  write_register<T>(core, vm::rbp, outer);
}

/// 64-bit mode: 8 bytes, or 2 with an operand-size prefix (REX.W wins); elsewhere 2 or 4.
unsigned stack_size_of(const Decoded& decoded) {
  if (decoded.code_bits != 64) return decoded.insn.operand_width / 8;
  bool narrow = (decoded.insn.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) != 0 && decoded.insn.raw.rex.W == 0;
  return narrow ? 2 : 8;
}

Handler pusher(const Decoded& decoded, unsigned size) {
  return by_word_size(size, [&](auto type) -> Handler {
    using T = decltype(type);
    if (decoded.is_memory(0)) return push_memory<T>;
    return decoded.is_immediate(0) ? push_immediate<T> : push_register<T>;
  });
}
Handler popper(const Decoded& decoded, unsigned size) {
  return by_word_size(size, [&](auto type) -> Handler {
    using T = decltype(type);
    return decoded.is_memory(0) ? pop_memory<T> : pop_register<T>;
  });
}

Handler handler_for(const Decoded& decoded) {
  switch (decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
      return general_operands(decoded) ? pusher(decoded, stack_size_of(decoded)) : nullptr;
    case ZYDIS_MNEMONIC_POP:
      return general_operands(decoded) ? popper(decoded, stack_size_of(decoded)) : nullptr;
    case ZYDIS_MNEMONIC_PUSHA:
      return push_all<uint16_t>;
    case ZYDIS_MNEMONIC_PUSHAD:
      return push_all<uint32_t>;
    case ZYDIS_MNEMONIC_POPA:
      return pop_all<uint16_t>;
    case ZYDIS_MNEMONIC_POPAD:
      return pop_all<uint32_t>;
    case ZYDIS_MNEMONIC_PUSHF:
      return push_flags<uint16_t>;
    case ZYDIS_MNEMONIC_PUSHFD:
      return push_flags<uint32_t>;
    case ZYDIS_MNEMONIC_PUSHFQ:
      return push_flags<uint64_t>;
    case ZYDIS_MNEMONIC_POPF:
      return pop_flags<uint16_t>;
    case ZYDIS_MNEMONIC_POPFD:
      return pop_flags<uint32_t>;
    case ZYDIS_MNEMONIC_POPFQ:
      return pop_flags<uint64_t>;
    case ZYDIS_MNEMONIC_ENTER:
      return by_word_size(stack_size_of(decoded), [](auto type) -> Handler { return enter<decltype(type)>; });
    case ZYDIS_MNEMONIC_LEAVE:
      return by_word_size(stack_size_of(decoded), [](auto type) -> Handler { return leave<decltype(type)>; });
    default:
      return nullptr;
  }
}

bool loads_flags(ZydisMnemonic mnemonic) {
  return mnemonic == ZYDIS_MNEMONIC_POPF || mnemonic == ZYDIS_MNEMONIC_POPFD || mnemonic == ZYDIS_MNEMONIC_POPFQ;
}

}  // namespace

bool bind_stack(const Decoded& decoded, Instruction& insn) {
  Handler handler = handler_for(decoded);
  if (handler == nullptr) return false;
  insn.run = handler;
  if (loads_flags(decoded.insn.mnemonic)) insn.ends_block = true;
  return true;
}

}  // namespace dejavm::soft
