#include "record/instruction_joins.h"

#include "vm/address.h"

namespace dejavm::record {
namespace {

constexpr uint64_t kLongestInstruction = 15;

/// A fragment that another one may follow: KVM splits at page boundaries, then into at most 8 bytes.
bool may_be_first_fragment(const vm::Access& access) {
  return access.space == vm::Space::mmio && (access.size == 8 || (access.addr + access.size) % vm::kPageSize == 0);
}

}  // namespace

bool InstructionJoins::write_may_continue() const {
  return previous_ && previous_->access.is_write() && may_be_first_fragment(previous_->access);
}

bool InstructionJoins::next(const vm::Access& access, bool certain) {
  uint64_t rip = vcpu_.rip();
  bool joins = certain;
  if (!certain && previous_) {
    joins = decide(access, rip);
  }
  bool same_operand = joins && previous_ && previous_->access.direction == access.direction;
  unsigned before = same_operand ? previous_->operand_bytes : 0;
  previous_ = {access, rip, before + access.size};
  return joins;
}

bool InstructionJoins::decide(const vm::Access& access, uint64_t rip) {
  const vm::Access& previous = previous_->access;
  if (previous.is_write()) return false;  // those that may continue were completed at once
  bool mmio_before = previous.space == vm::Space::mmio, mmio_now = access.space == vm::Space::mmio;
  // At a further exit of the same instruction RIP is on it or right behind it.
  if (rip - previous_->rip > kLongestInstruction) return false;
  bool possible = mmio_before ? (access.is_write() || (mmio_now && rip == previous_->rip))
                              : (mmio_now && access.is_write() && access.size == previous.size);
  if (mmio_before && mmio_now && !access.is_write()) {
    possible = possible && (may_be_first_fragment(previous) || access.addr != previous.addr);
  }
  if (!possible) return false;

  vm::CpuState cpu = vcpu_.quick_registers();
  cpu.rip = previous_->rip;
  auto info = vm::decode_at(cpu, memory_, {cpu.linear_rip()});
  if (!info) return false;
  if (!mmio_before) return info->port_read && info->memory_writes > 0;  // INS to a device
  bool same_instruction = rip == previous_->rip || rip == previous_->rip + info->length;
  if (access.space == vm::Space::pio) return same_instruction && info->port_write;  // OUTS from a device
  if (access.is_write()) return same_instruction && info->memory_writes > 0;
  bool more_of_operand = previous_->operand_bytes < info->operand_bytes;
  bool second_operand = !more_of_operand && info->memory_reads > 1 && access.addr != previous.addr;
  return more_of_operand || second_operand;
}

}  // namespace dejavm::record
