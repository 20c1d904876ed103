#include "record/instruction_joins.h"

#include "vm/address.h"

namespace dejavm::record {
namespace {

constexpr uint64_t kLongestInstruction = 15;
constexpr uint64_t kDirectionFlag = 1u << 10;

/// A fragment that another one may follow: KVM splits at page boundaries, then into at most 8 bytes.
bool may_be_first_fragment(const vm::Access& access) {
  return access.space == vm::Space::mmio && (access.size == 8 || (access.addr + access.size) % vm::kPageSize == 0);
}

bool is_mmio(const vm::Access& access) { return access.space == vm::Space::mmio; }

}  // namespace

bool InstructionJoins::write_may_continue() const {
  return previous_ && previous_->access.is_write() && may_be_first_fragment(previous_->access);
}

bool InstructionJoins::next(const vm::Access& access, bool certain) {
  uint64_t rip = vcpu_.rip();
  Bond bond = certain ? Bond::iteration : Bond::none;
  if (previous_) bond = certain ? decide_certain(access, rip) : decide(access, rip);
  Previous now{access, rip, std::nullopt, access.size, 0};
  if (!access.is_write()) now.start = rip;
  if (bond != Bond::none && previous_) {
    now.start = previous_->start;
    if (previous_->access.direction == access.direction) now.bytes += previous_->bytes;
  }
  if (!access.is_write() && !is_mmio(access)) {
    bool counting = previous_ && previous_->port_reads > 0 && previous_->rip == rip;
    now.port_reads = 1 + (counting ? previous_->port_reads : 0);
  }
  previous_ = now;
  return bond == Bond::iteration;
}

vm::CpuState InstructionJoins::registers_at(uint64_t rip) const {
  vm::CpuState cpu = vcpu_.quick_registers();
  cpu.rip = rip;
  return cpu;
}

/// The engine says nothing of how `access` belongs to the one before it.
InstructionJoins::Bond InstructionJoins::decide(const vm::Access& access, uint64_t rip) const {
  const vm::Access& previous = previous_->access;
  if (previous.is_write()) return Bond::none;  // those that may continue were completed at once
  // At a further exit of the same instruction RIP is on it or right behind it.
  if (rip - previous_->rip > kLongestInstruction) return Bond::none;
  bool possible = is_mmio(access) && access.is_write();
  if (is_mmio(previous)) {
    possible = access.is_write() || (is_mmio(access) && rip == previous_->rip &&
                                     (may_be_first_fragment(previous) || access.addr != previous.addr));
  }
  if (!possible) return Bond::none;

  vm::CpuState cpu = registers_at(previous_->rip);
  auto info = vm::decode_at(cpu, memory_, {cpu.linear_rip()});
  if (!info || (rip != previous_->rip && rip != previous_->rip + info->length)) return Bond::none;
  if (!is_mmio(access) && !info->port_write) return Bond::none;                                // not OUTS from a device
  if (!is_mmio(previous) && !(info->port_read && info->memory_writes > 0)) return Bond::none;  // not INS to a device
  if (is_mmio(access) && access.is_write() && info->memory_writes == 0) return Bond::none;
  Bond bond = within(*info, access, previous_->rip);
  // Reads by an instruction that is not repeated and has all it wants are those of a loop.
  bool loop = bond == Bond::instruction && !info->repeated;
  return loop ? Bond::none : bond;
}

/// The engine says that the instruction goes on.
InstructionJoins::Bond InstructionJoins::decide_certain(const vm::Access& access, uint64_t rip) const {
  std::optional<uint64_t> start = previous_->start;
  if (!start) {
    vm::CpuState cpu = registers_at(rip);
    auto found = vm::find_accessing_instruction(cpu, memory_, access);
    if (found) start = cpu.rip + (found->value - cpu.linear_rip());
  }
  if (!start) return Bond::iteration;
  vm::CpuState cpu = registers_at(*start);
  auto info = vm::decode_at(cpu, memory_, {cpu.linear_rip()});
  if (!info || !info->repeated) return Bond::iteration;
  return within(*info, access, *start);
}

/// Both accesses are of this instruction: are they of one element of a string?
InstructionJoins::Bond InstructionJoins::within(const vm::InstructionInfo& info, const vm::Access& access,
                                                uint64_t start) const {
  const vm::Access& previous = previous_->access;
  auto iteration_if = [](bool same) { return same ? Bond::iteration : Bond::instruction; };
  if (previous.direction != access.direction) {
    if (previous.is_write()) return Bond::instruction;
    return iteration_if(is_mmio(previous) || ins_pair(info, access));
  }
  if (!is_mmio(previous) || !is_mmio(access)) return Bond::instruction;  // an element has one port access
  bool in_element = info.operand_bytes != 0 && previous_->bytes % info.operand_bytes != 0;
  return iteration_if(in_element || (!access.is_write() && info.memory_reads > 1 && second_operand(access, start)));
}

/// KVM reads the elements of a rep INS from the port in batches. Upwards it then writes a batch at once: a write that holds
/// no more than an element is that of a batch of one. Downwards it writes them one by one.
bool InstructionJoins::ins_pair(const vm::InstructionInfo& info, const vm::Access& access) const {
  if (!info.repeated) return true;
  bool downwards = (vcpu_.quick_registers().rflags & kDirectionFlag) != 0;
  if (downwards) return previous_->port_reads == 1;
  return access.size == previous_->access.size || (access.size < previous_->access.size && may_be_first_fragment(access));
}

/// CMPS of two devices: the registers still point to both operands.
bool InstructionJoins::second_operand(const vm::Access& access, uint64_t start) const {
  vm::CpuState cpu = registers_at(start);
  vm::GuestVirt at{cpu.linear_rip()};
  auto first = vm::accessed_operand(cpu, memory_, at, previous_->access);
  auto second = vm::accessed_operand(cpu, memory_, at, access);
  return first && second && *first != *second;
}

}  // namespace dejavm::record
