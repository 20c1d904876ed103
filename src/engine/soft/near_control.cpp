// JMP, Jcc, CALL, RET, LOOP, JCXZ within a code segment (AMD64 APM volume 3). In 64-bit mode AMD CPUs honour the
// operand-size prefix: the target is cut to 16 bits and CALL and RET move two bytes (measured; Intel CPUs ignore the
// prefix).
#include <array>
#include <utility>

#include "engine/soft/decode.h"
#include "engine/soft/flags.h"
#include "engine/soft/operand_forms.h"

namespace dejavm::soft {

void branch_to(Core& core, uint64_t target, unsigned operand_size) {
  target = truncate(target, operand_size);
  if (core.code_bits() == 64) {
    if (!Core::canonical(target) && !core.features.tcg) raise_gp();  // which finds out when it fetches what is there
  } else if (target > core.cpu.segment[vm::cs].limit && !core.features.tcg) {
    raise_gp();
  }
  core.next_rip = target;
}

namespace {

/// The bytes of a relative branch's target: TCG does not cut that of 64-bit code.
template <typename T>
unsigned relative_size(const Core& core) {
  return core.features.tcg && core.code_bits() == 64 ? 8 : sizeof(T);
}

/// Of a relative branch; next_rip is still the address behind the instruction.
template <typename T>
void branch_by(Core& core, const Instruction& insn) {
  branch_to(core, core.next_rip + insn.immediate, relative_size<T>(core));
}

template <typename T>
void jump(Core& core, const Instruction& insn) {
  branch_by<T>(core, insn);
}
template <typename T, unsigned condition>
void jump_if(Core& core, const Instruction& insn) {
  if (holds(core.cpu.rflags, condition)) branch_by<T>(core, insn);
}
template <typename T, bool memory>
void jump_indirect(Core& core, const Instruction& insn) {
  branch_to(core, read_first<T, memory>(core, insn), sizeof(T));
}

/// The return address goes onto the stack when the target has been found good.
template <typename T>
void call_to(Core& core, uint64_t target, unsigned target_size) {
  uint64_t behind = core.next_rip;
  branch_to(core, target, target_size);
  push(core, sizeof(T), static_cast<T>(behind));
}
template <typename T>
void call(Core& core, const Instruction& insn) {
  call_to<T>(core, core.next_rip + insn.immediate, relative_size<T>(core));
}
template <typename T, bool memory>
void call_indirect(Core& core, const Instruction& insn) {
  call_to<T>(core, read_first<T, memory>(core, insn), sizeof(T));
}

/// `immediate` is the number of bytes to drop, 0 without one.
template <typename T>
void return_near(Core& core, const Instruction& insn) {
  branch_to(core, peek_stack(core, sizeof(T)), sizeof(T));
  uint64_t dropped = insn.immediate & 0xffff;
  if (core.features.tcg) dropped = static_cast<uint64_t>(static_cast<int16_t>(dropped));
  set_stack_pointer(core, core.cpu.gpr[vm::rsp] + sizeof(T) + dropped);
}

enum class LoopWhile : uint8_t { always, zero, not_zero };

template <typename T, LoopWhile when>
void loop(Core& core, const Instruction& insn) {
  uint64_t count = truncate(core.cpu.gpr[vm::rcx] - 1, insn.address_size);
  bool zero = (core.cpu.rflags & kZf) != 0;
  bool wanted = when == LoopWhile::always || zero == (when == LoopWhile::zero);
  if (count != 0 && wanted) branch_by<T>(core, insn);
  write_register(core, vm::rcx, insn.address_size, count);
}
template <typename T>
void jump_if_counter_zero(Core& core, const Instruction& insn) {
  if (truncate(core.cpu.gpr[vm::rcx], insn.address_size) == 0) branch_by<T>(core, insn);
}

template <typename T, unsigned... condition>
Handler conditional(unsigned wanted, std::integer_sequence<unsigned, condition...>) {
  static constexpr std::array<Handler, 16> kHandlers = {jump_if<T, condition>...};
  return kHandlers[wanted];
}

template <typename T>
Handler jumper(const Decoded& decoded) {
  if (decoded.is_memory(0)) return jump_indirect<T, true>;
  return decoded.is_register(0) ? jump_indirect<T, false> : jump<T>;
}
template <typename T>
Handler caller(const Decoded& decoded) {
  if (decoded.is_memory(0)) return call_indirect<T, true>;
  return decoded.is_register(0) ? call_indirect<T, false> : call<T>;
}

template <typename T>
Handler handler_for(const Decoded& decoded, unsigned condition) {
  switch (decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_JMP:
      return jumper<T>(decoded);
    case ZYDIS_MNEMONIC_CALL:
      return caller<T>(decoded);
    case ZYDIS_MNEMONIC_RET:
      return return_near<T>;
    case ZYDIS_MNEMONIC_LOOP:
      return loop<T, LoopWhile::always>;
    case ZYDIS_MNEMONIC_LOOPE:
      return loop<T, LoopWhile::zero>;
    case ZYDIS_MNEMONIC_LOOPNE:
      return loop<T, LoopWhile::not_zero>;
    case ZYDIS_MNEMONIC_JCXZ:
    case ZYDIS_MNEMONIC_JECXZ:
    case ZYDIS_MNEMONIC_JRCXZ:
      return jump_if_counter_zero<T>;
    default:
      break;
  }
  if (decoded.insn.meta.category != ZYDIS_CATEGORY_COND_BR) return nullptr;
  return conditional<T>(condition, std::make_integer_sequence<unsigned, 16>{});
}

/// Bytes of the target: by mode and the operand-size prefix.
unsigned branch_size(const Decoded& decoded) {
  bool prefix = (decoded.insn.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) != 0;
  if (decoded.code_bits == 64) return prefix && decoded.insn.raw.rex.W == 0 ? 2 : 8;
  return (decoded.code_bits == 32) != prefix ? 4 : 2;
}

}  // namespace

bool bind_near_control(const Decoded& decoded, Instruction& insn) {
  if (decoded.insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || !general_operands(decoded)) return false;
  Handler handler = nullptr;
  switch (branch_size(decoded)) {
    case 2:
      handler = handler_for<uint16_t>(decoded, insn.condition);
      break;
    case 4:
      handler = handler_for<uint32_t>(decoded, insn.condition);
      break;
    default:
      handler = handler_for<uint64_t>(decoded, insn.condition);
      break;
  }
  if (handler == nullptr) return false;
  insn.run = handler;
  insn.ends_block = true;
  return true;
}

}  // namespace dejavm::soft
