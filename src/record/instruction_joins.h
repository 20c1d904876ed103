// Tells whether an access belongs to the same instruction as the access before it.
#pragma once

#include <cstdint>
#include <optional>

#include "vm/access.h"
#include "vm/guest_memory.h"
#include "vm/instruction.h"
#include "vm/vcpu.h"

namespace dejavm::record {

/// On KVM nothing says that an instruction continues: a read-modify-write looks like a load and a store. What is cheap
/// decides almost always: only a read can be followed by a write, only a fragment of 8 bytes or up to a page's end by
/// another fragment. In the doubtful rest the instruction of the read is decoded. An iteration of a rep string instruction
/// counts as an instruction, whatever KVM does at once.
class InstructionJoins {
 public:
  InstructionJoins(vm::Vcpu& vcpu, const vm::GuestMemory& memory) : vcpu_(vcpu), memory_(memory) {}

  /// An instruction boundary was seen since the last access.
  void boundary() { previous_.reset(); }

  /// Whether `access`, which has just exited, joins the access before it. `certain`: the engine goes on with the instruction
  /// of that one (RunMode::complete).
  bool next(const vm::Access& access, bool certain);

  /// True when the engine must be asked (RunMode::complete) whether the last access, a write, continues: its address is lost
  /// then.
  bool write_may_continue() const;

 private:
  struct Previous {
    vm::Access access;
    uint64_t rip = 0;
    std::optional<uint64_t> start;  // RIP of the instruction, where known
    unsigned bytes = 0;             // that the instruction moved in this direction since it last moved the other way
    unsigned port_reads = 0;        // INS: elements read since the last write
  };
  /// How an access belongs to the one before it.
  enum class Bond : uint8_t { none, instruction, iteration };

  Bond decide(const vm::Access& access, uint64_t rip) const;
  Bond decide_certain(const vm::Access& access, uint64_t rip) const;
  Bond within(const vm::InstructionInfo& info, const vm::Access& access, uint64_t start) const;
  bool ins_pair(const vm::InstructionInfo& info, const vm::Access& access) const;
  bool second_operand(const vm::Access& access, uint64_t start) const;
  vm::CpuState registers_at(uint64_t rip) const;

  vm::Vcpu& vcpu_;
  const vm::GuestMemory& memory_;
  std::optional<Previous> previous_;
};

}  // namespace dejavm::record
