// Moves and conversions: MOV to and from general registers, MOVZX, MOVSX, LEA, CMOVcc, SETcc, CBW, CWD, BSWAP, MOVBE, XLAT.
#include <array>
#include <utility>

#include "engine/soft/flags.h"
#include "engine/soft/integer_rooms.h"
#include "engine/soft/operand_forms.h"

namespace dejavm::soft {
namespace {

template <typename T, Form form>
void move(Core& core, const Instruction& insn) {
  T value = read_source<T, form>(core, insn);
  if constexpr (writes_memory(form)) {
    write_memory<T>(core, insn, value);
  } else {
    write_register<T>(core, insn.reg, value);
  }
}

template <typename T>
Handler moving(Form form) {
  switch (form) {
    case Form::reg_reg:
      return move<T, Form::reg_reg>;
    case Form::reg_mem:
      return move<T, Form::reg_mem>;
    case Form::mem_reg:
      return move<T, Form::mem_reg>;
    case Form::reg_imm:
      return move<T, Form::reg_imm>;
    default:
      return move<T, Form::mem_imm>;
  }
}

template <typename To, typename From, bool memory>
void extend(Core& core, const Instruction& insn) {
  using Unsigned = std::make_unsigned_t<From>;
  Unsigned value = read_source < Unsigned, memory ? Form::reg_mem : Form::reg_reg > (core, insn);
  write_register<To>(core, insn.reg, static_cast<To>(static_cast<From>(value)));
}

template <typename To, typename From>
Handler extending_from(bool memory) {
  return memory ? extend<To, From, true> : extend<To, From, false>;
}
template <typename From8, typename From16, typename From32>
Handler extending(const Decoded& decoded) {
  return by_word_size(decoded.size(0), [&](auto type) {
    using To = decltype(type);
    bool memory = decoded.is_memory(1);
    if (decoded.size(1) == 1) return extending_from<To, From8>(memory);
    return decoded.size(1) == 2 ? extending_from<To, From16>(memory) : extending_from<To, From32>(memory);
  });
}

template <typename T>
void load_address(Core& core, const Instruction& insn) {
  write_register<T>(core, insn.reg, static_cast<T>(effective_offset(core, insn)));
}

template <typename T>
T swap_bytes(T value) {
  T result = 0;
  for (unsigned i = 0; i < sizeof(T); ++i) {
    result = static_cast<T>(result << 8 | (value & 0xff));
    value = static_cast<T>(value >> 8);
  }
  return result;
}

template <typename T>
void swap_register(Core& core, const Instruction& insn) {
  T value = read_register<T>(core, insn.reg);
  write_register<T>(core, insn.reg, sizeof(T) == 2 ? T{0} : swap_bytes(value));  // 16 bits: see undefined_flags.h
}

template <typename T, bool to_memory>
void move_swapped(Core& core, const Instruction& insn) {
  if constexpr (to_memory) {
    write_memory<T>(core, insn, swap_bytes(read_register<T>(core, insn.reg)));
  } else {
    write_register<T>(core, insn.reg, swap_bytes(read_memory<T>(core, insn)));
  }
}

// Memory is read, and a 32-bit register's upper half is cleared, whatever the condition says.
template <typename T, bool memory, unsigned condition>
void move_if(Core& core, const Instruction& insn) {
  T value = read_source < T, memory ? Form::reg_mem : Form::reg_reg > (core, insn);
  T old = read_register<T>(core, insn.reg);
  write_register<T>(core, insn.reg, holds(core.cpu.rflags, condition) ? value : old);
}

template <bool memory, unsigned condition>
void set_if(Core& core, const Instruction& insn) {
  uint8_t value = holds(core.cpu.rflags, condition) ? 1 : 0;
  if constexpr (memory) {
    write_memory<uint8_t>(core, insn, value);
  } else {
    write_register<uint8_t>(core, insn.reg, value);
  }
}

template <typename T, bool memory, unsigned... condition>
Handler moving_if(unsigned wanted, std::integer_sequence<unsigned, condition...>) {
  static constexpr std::array<Handler, 16> kHandlers = {move_if<T, memory, condition>...};
  return kHandlers[wanted];
}
template <bool memory, unsigned... condition>
Handler setting_if(unsigned wanted, std::integer_sequence<unsigned, condition...>) {
  static constexpr std::array<Handler, 16> kHandlers = {set_if<memory, condition>...};
  return kHandlers[wanted];
}

/// CBW, CWDE, CDQE: the lower half of the accumulator into all of it.
template <typename To, typename From>
void widen_accumulator(Core& core, const Instruction&) {
  auto half = read_register<std::make_unsigned_t<From>>(core, vm::rax);
  write_register<To>(core, vm::rax, static_cast<To>(static_cast<From>(half)));
}
/// CWD, CDQ, CQO: the accumulator's sign into all of rDX.
template <typename T>
void spread_sign(Core& core, const Instruction&) {
  bool negative = read_register<T>(core, vm::rax) >> (8 * sizeof(T) - 1) != 0;
  write_register<T>(core, vm::rdx, negative ? static_cast<T>(~T{0}) : T{0});
}

void translate_byte(Core& core, const Instruction& insn) {
  uint64_t offset = truncate(core.cpu.gpr[vm::rbx] + read_register<uint8_t>(core, vm::rax), insn.address_size);
  uint64_t linear = core.linear(static_cast<vm::SegmentName>(insn.segment), offset, 1, false);
  write_register<uint8_t>(core, vm::rax, core.memory.read<uint8_t>(linear));
}

Handler fixed_conversion(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_CBW:
      return widen_accumulator<uint16_t, int8_t>;
    case ZYDIS_MNEMONIC_CWDE:
      return widen_accumulator<uint32_t, int16_t>;
    case ZYDIS_MNEMONIC_CDQE:
      return widen_accumulator<uint64_t, int32_t>;
    case ZYDIS_MNEMONIC_CWD:
      return spread_sign<uint16_t>;
    case ZYDIS_MNEMONIC_CDQ:
      return spread_sign<uint32_t>;
    case ZYDIS_MNEMONIC_CQO:
      return spread_sign<uint64_t>;
    case ZYDIS_MNEMONIC_XLAT:
      return translate_byte;
    default:
      return nullptr;
  }
}

Handler conditional(const Decoded& decoded, unsigned condition) {
  constexpr auto kAll = std::make_integer_sequence<unsigned, 16>{};
  if (decoded.insn.meta.category == ZYDIS_CATEGORY_SETCC) {
    return decoded.is_memory(0) ? setting_if<true>(condition, kAll) : setting_if<false>(condition, kAll);
  }
  if (decoded.insn.meta.category != ZYDIS_CATEGORY_CMOV) return nullptr;
  return by_word_size(decoded.size(0), [&](auto type) {
    using T = decltype(type);
    return decoded.is_memory(1) ? moving_if<T, true>(condition, kAll) : moving_if<T, false>(condition, kAll);
  });
}

Handler moving_handler(const Decoded& decoded) {
  switch (decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVNTI:
      return by_size(decoded.size(0), [&](auto type) { return moving<decltype(type)>(form_of(decoded)); });
    case ZYDIS_MNEMONIC_MOVZX:
      return extending<uint8_t, uint16_t, uint32_t>(decoded);
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
      return extending<int8_t, int16_t, int32_t>(decoded);
    case ZYDIS_MNEMONIC_LEA:
      return by_word_size(decoded.size(0), [](auto type) -> Handler { return load_address<decltype(type)>; });
    case ZYDIS_MNEMONIC_BSWAP:
      if (decoded.features.tcg && decoded.size(0) == 2) return swap_register<uint32_t>;
      return by_word_size(decoded.size(0), [](auto type) -> Handler { return swap_register<decltype(type)>; });
    case ZYDIS_MNEMONIC_MOVBE:
      return by_word_size(decoded.size(0), [&](auto type) -> Handler {
        using T = decltype(type);
        return decoded.is_memory(0) ? move_swapped<T, true> : move_swapped<T, false>;
      });
    default:
      return fixed_conversion(decoded.insn.mnemonic);
  }
}

}  // namespace

bool bind_move(const Decoded& decoded, Instruction& insn) {
  if (!general_operands(decoded)) return false;
  Handler handler = moving_handler(decoded);
  if (handler == nullptr) handler = conditional(decoded, insn.condition);
  if (handler == nullptr) return false;
  insn.run = handler;
  return true;
}

}  // namespace dejavm::soft
