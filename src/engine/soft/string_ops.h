// MOVS, STOS, LODS, SCAS, CMPS, INS, OUTS, alone and repeated (AMD64 APM volume 3).
//
// Each iteration of a repeated instruction is a step. A call of the handler does either one element by the accesses that may
// throw, or a run of elements that lie in pages of plain RAM, where nothing can; so whatever was done before a fault or an
// exit is complete and counted. While iterations are left, next_rip stays at the instruction.
#pragma once

#include <cstdint>

#include "engine/soft/core.h"
#include "engine/soft/instruction.h"

namespace dejavm::soft {

/// The pointers and the counter of a string instruction, by its address size.
class StringRegisters {
 public:
  StringRegisters(Core& core, const Instruction& insn)
      : core_(core), mask_(insn.address_size == 8 ? ~uint64_t{0} : (uint64_t{1} << 8 * insn.address_size) - 1) {}

  uint64_t mask() const { return mask_; }
  uint64_t get(vm::Gpr reg) const { return core_.cpu.gpr[reg] & mask_; }
  void set(vm::Gpr reg, uint64_t value) {
    uint64_t& whole = core_.cpu.gpr[reg];
    whole = mask_ == 0xffff ? (whole & ~mask_) | (value & mask_) : value & mask_;
  }
  bool backwards() const { return (core_.cpu.rflags & (1u << 10)) != 0; }
  /// Moves a pointer on by `count` elements of `size` bytes.
  void advance(vm::Gpr reg, uint64_t count, uint64_t size) {
    set(reg, get(reg) + (backwards() ? 0 - count * size : count * size));
  }

 private:
  Core& core_;
  uint64_t mask_;
};

/// How many elements of `size` bytes, the first one at `linear` = `offset` in `segment` (which has been checked) and the
/// others in the direction of DF, lie in the same page and need no check of their own; at most `wanted`, perhaps 0.
uint64_t elements_in_reach(const Core& core, const StringRegisters& registers, vm::SegmentName segment, uint64_t offset,
                           uint64_t linear, uint64_t size, uint64_t wanted);

}  // namespace dejavm::soft
