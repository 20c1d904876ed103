// Operands of instructions: registers and memory, read and written the way x86 does.
#pragma once

#include <cstdint>

#include "engine/soft/core.h"
#include "engine/soft/instruction.h"

namespace dejavm::soft {

/// The register's value, zero-extended. T is uint8_t ... uint64_t.
template <typename T>
T read_register(const Core& core, uint8_t reg) {
  if constexpr (sizeof(T) == 1) {
    if ((reg & kHighByte) != 0) return static_cast<T>(core.cpu.gpr[reg & 3] >> 8);
  }
  return static_cast<T>(core.cpu.gpr[reg]);
}

/// 32-bit writes clear the upper half; 8- and 16-bit writes keep the rest.
template <typename T>
void write_register(Core& core, uint8_t reg, T value) {
  uint64_t& whole = core.cpu.gpr[reg & 15];
  if constexpr (sizeof(T) == 1) {
    unsigned shift = (reg & kHighByte) != 0 ? 8 : 0;
    whole = (whole & ~(uint64_t{0xff} << shift)) | static_cast<uint64_t>(value) << shift;
  } else if constexpr (sizeof(T) == 2) {
    whole = (whole & ~uint64_t{0xffff}) | value;
  } else {
    whole = value;
  }
}

inline uint64_t read_register(const Core& core, uint8_t reg, unsigned size) {
  switch (size) {
    case 1:
      return read_register<uint8_t>(core, reg);
    case 2:
      return read_register<uint16_t>(core, reg);
    case 4:
      return read_register<uint32_t>(core, reg);
    default:
      return core.cpu.gpr[reg];
  }
}

inline void write_register(Core& core, uint8_t reg, unsigned size, uint64_t value) {
  switch (size) {
    case 1:
      return write_register<uint8_t>(core, reg, static_cast<uint8_t>(value));
    case 2:
      return write_register<uint16_t>(core, reg, static_cast<uint16_t>(value));
    case 4:
      return write_register<uint32_t>(core, reg, static_cast<uint32_t>(value));
    default:
      core.cpu.gpr[reg] = value;
  }
}

inline uint64_t truncate(uint64_t value, unsigned size) {
  return size == 8 ? value : value & ((uint64_t{1} << 8 * size) - 1);
}

/// The offset of the memory operand in its segment, wrapped to the address size.
inline uint64_t effective_offset(const Core& core, const Instruction& insn) {
  uint64_t offset = static_cast<uint64_t>(insn.displacement);
  if (insn.base < 16) {
    offset += core.cpu.gpr[insn.base];
  } else if (insn.base == kRipBase) {
    offset += core.cpu.rip + insn.length;
  }
  if (insn.index < 16) offset += core.cpu.gpr[insn.index] << insn.scale;
  return truncate(offset, insn.address_size);
}

/// The linear address of the memory operand, checked for an access of `size` bytes.
inline uint64_t effective_address(Core& core, const Instruction& insn, size_t size, bool write) {
  return core.linear(static_cast<vm::SegmentName>(insn.segment), effective_offset(core, insn), size, write);
}

template <typename T>
T read_memory(Core& core, const Instruction& insn) {
  return core.memory.read<T>(effective_address(core, insn, sizeof(T), false));
}
template <typename T>
void write_memory(Core& core, const Instruction& insn, T value) {
  core.memory.write<T>(effective_address(core, insn, sizeof(T), true), value);
}
inline uint64_t read_linear(Core& core, uint64_t linear, unsigned size, Rights rights = Rights::program) {
  switch (size) {
    case 1:
      return core.memory.read<uint8_t>(linear, rights);
    case 2:
      return core.memory.read<uint16_t>(linear, rights);
    case 4:
      return core.memory.read<uint32_t>(linear, rights);
    default:
      return core.memory.read<uint64_t>(linear, rights);
  }
}
inline void write_linear(Core& core, uint64_t linear, unsigned size, uint64_t value, Rights rights = Rights::program) {
  switch (size) {
    case 1:
      return core.memory.write<uint8_t>(linear, static_cast<uint8_t>(value), rights);
    case 2:
      return core.memory.write<uint16_t>(linear, static_cast<uint16_t>(value), rights);
    case 4:
      return core.memory.write<uint32_t>(linear, static_cast<uint32_t>(value), rights);
    default:
      core.memory.write<uint64_t>(linear, value, rights);
  }
}

struct FarPointer {
  uint16_t selector = 0;
  uint64_t offset = 0;
};
/// The memory operand: from a device in one access (of at most 8 bytes a fragment), as kvm.ko does.
FarPointer read_far_pointer(Core& core, const Instruction& insn);  // far_control.cpp

/// The mask of the stack pointer: 64 bits in 64-bit mode, else by SS.
inline uint64_t stack_mask(const Core& core) {
  if (core.code_bits() == 64) return ~uint64_t{0};
  return core.cpu.segment[vm::ss].db != 0 ? 0xffffffff : 0xffff;
}
/// RSP, ESP or SP gets the value; the rest of RSP stays for SP, and is cleared for ESP.
inline void set_stack_pointer(Core& core, uint64_t value) {
  uint64_t mask = stack_mask(core);
  uint64_t& rsp = core.cpu.gpr[vm::rsp];
  rsp = mask == 0xffff ? (rsp & ~uint64_t{0xffff}) | (value & mask) : value & mask;
}
/// Reads at the stack pointer plus `offset`, without moving it.
inline uint64_t peek_stack(Core& core, unsigned size, uint64_t offset = 0) {
  uint64_t sp = (core.cpu.gpr[vm::rsp] + offset) & stack_mask(core);
  return read_linear(core, core.linear(vm::ss, sp, size, false), size);
}
/// Writes below the stack pointer (its `depth`-th byte from there) without moving it; `depth` includes the size.
inline void poke_stack(Core& core, unsigned size, uint64_t depth, uint64_t value) {
  uint64_t sp = (core.cpu.gpr[vm::rsp] - depth) & stack_mask(core);
  write_linear(core, core.linear(vm::ss, sp, size, true), size, value);
}
/// Pushes: the write may throw, then the pointer moves.
inline void push(Core& core, unsigned size, uint64_t value) {
  poke_stack(core, size, size, value);
  set_stack_pointer(core, core.cpu.gpr[vm::rsp] - size);
}

/// A near branch: wraps to the operand size; #GP(0) outside the code segment or not canonical.
void branch_to(Core& core, uint64_t target, unsigned operand_size);

}  // namespace dejavm::soft
