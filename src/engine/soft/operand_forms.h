// Choosing a handler by the size and kind of the operands when an instruction is bound, so that nothing is chosen when it
// runs.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/check.h"
#include "engine/soft/decode.h"
#include "engine/soft/operands.h"

namespace dejavm::soft {

/// Of the first two operands. Registers are Instruction::reg and other in their order.
enum class Form : uint8_t { reg_reg, reg_mem, mem_reg, reg_imm, mem_imm };

inline Form form_of(const Decoded& decoded) {
  if (decoded.is_memory(0)) return decoded.is_immediate(1) ? Form::mem_imm : Form::mem_reg;
  if (decoded.is_memory(1)) return Form::reg_mem;
  return decoded.is_immediate(1) ? Form::reg_imm : Form::reg_reg;
}
constexpr bool writes_memory(Form form) { return form == Form::mem_reg || form == Form::mem_imm; }

/// Whether all register operands are general registers: MOV and PUSH have other forms, too.
inline bool general_operands(const Decoded& decoded) {
  for (int i = 0; i < decoded.insn.operand_count_visible; ++i) {
    if (decoded.is_register(i) && general_register(decoded.operands[i].reg.value) == kNoRegister) return false;
  }
  return true;
}

/// choose(uint8_t{}) ... choose(uint64_t{}) by the size of an operand in bytes; the argument's type is what counts.
template <typename Choose>
Handler by_size(unsigned bytes, Choose choose) {
  switch (bytes) {
    case 1:
      return choose(uint8_t{});
    case 2:
      return choose(uint16_t{});
    case 4:
      return choose(uint32_t{});
    default:
      CHECK(bytes == 8);
      return choose(uint64_t{});
  }
}
/// The same where there is no 8-bit form.
template <typename Choose>
Handler by_word_size(unsigned bytes, Choose choose) {
  if (bytes == 2) return choose(uint16_t{});
  if (bytes == 4) return choose(uint32_t{});
  CHECK(bytes == 8);
  return choose(uint64_t{});
}

/// The value of the second operand.
template <typename T, Form form>
T read_source(Core& core, const Instruction& insn) {
  if constexpr (form == Form::reg_reg) {
    return read_register<T>(core, insn.other);
  } else if constexpr (form == Form::reg_mem) {
    return read_memory<T>(core, insn);
  } else if constexpr (form == Form::mem_reg) {
    return read_register<T>(core, insn.reg);
  } else {
    return static_cast<T>(insn.immediate);
  }
}
/// The value of the first operand, which is not written.
template <typename T, bool memory>
T read_first(Core& core, const Instruction& insn) {
  if constexpr (memory) {
    return read_memory<T>(core, insn);
  } else {
    return read_register<T>(core, insn.reg);
  }
}

/// Raises what a read-modify-write instruction of these bytes raises. A page that is not there faults as a write, with
/// QEMU's TCG (tcg_flags.h) as a read.
inline void probe_modify(Core& core, uint64_t linear, size_t size) {
  if (core.features.tcg) core.memory.probe_read(linear, size);
  core.memory.probe_write(linear, size);
}

/// The first operand of a read-modify-write instruction in memory. Faults of the write come when it is made; plain RAM is
/// then reached directly.
template <typename T>
class MemoryTarget {
 public:
  MemoryTarget(Core& core, const Instruction& insn) : MemoryTarget(core, effective_address(core, insn, sizeof(T), true)) {}
  MemoryTarget(Core& core, uint64_t linear)
      : core_(core), linear_(linear), host_(core.memory.direct_write(linear, sizeof(T))) {
    if (host_ == nullptr) probe_modify(core, linear, sizeof(T));
  }
  T read() const {
    if (host_ == nullptr) return core_.memory.read<T>(linear_);
    T value;
    std::memcpy(&value, host_, sizeof value);
    return value;
  }
  void write(T value) const {
    if (host_ == nullptr) return core_.memory.write<T>(linear_, value);
    std::memcpy(host_, &value, sizeof value);
  }

 private:
  Core& core_;
  uint64_t linear_;
  uint8_t* host_;
};

template <typename T>
class RegisterTarget {
 public:
  RegisterTarget(Core& core, const Instruction& insn) : core_(core), reg_(insn.reg) {}
  T read() const { return read_register<T>(core_, reg_); }
  void write(T value) const { write_register<T>(core_, reg_, value); }

 private:
  Core& core_;
  uint8_t reg_;
};

template <typename T, bool memory>
using Target = std::conditional_t<memory, MemoryTarget<T>, RegisterTarget<T>>;

}  // namespace dejavm::soft
