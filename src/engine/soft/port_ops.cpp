#include "engine/soft/port_ops.h"

#include <Zydis/Zydis.h>

#include "engine/soft/operands.h"

namespace dejavm::soft {
namespace {

constexpr unsigned kIoMapBase = 102;  // in a 32-bit or 64-bit TSS

void check_bitmap(Core& core, uint16_t port, unsigned size) {
  const vm::Segment& tr = core.cpu.tr;
  bool has_map = tr.unusable == 0 && tr.s == 0 && (tr.type & 8) != 0 && tr.limit >= kIoMapBase + 1;
  if (!has_map) raise_gp();
  auto at = [&](uint64_t offset) {
    return core.long_mode_active() ? tr.base + offset : static_cast<uint32_t>(tr.base + offset);
  };
  uint64_t first = core.memory.read<uint16_t>(at(kIoMapBase), Rights::system) + uint64_t{port} / 8;
  if (first + 1 > tr.limit) raise_gp();
  auto forbidden = core.memory.read<uint16_t>(at(first), Rights::system);
  unsigned wanted = (1u << size) - 1;
  if ((forbidden >> port % 8 & wanted) != 0) raise_gp();
}

uint16_t port_in_dx(const Core& core) { return static_cast<uint16_t>(core.cpu.gpr[vm::rdx]); }
uint16_t port_in_code(const Instruction& insn) { return static_cast<uint16_t>(insn.immediate & 0xff); }

vm::Access read_of(uint16_t port, unsigned size) {
  return {.space = vm::Space::pio, .direction = vm::Direction::read, .size = static_cast<uint8_t>(size), .addr = port};
}
vm::Access write_of(uint16_t port, unsigned size, uint64_t value) {
  return {.space = vm::Space::pio,
          .direction = vm::Direction::write,
          .size = static_cast<uint8_t>(size),
          .addr = port,
          .value = value};
}

void in(Core& core, const Instruction& insn, uint16_t port) {
  check_port(core, port, insn.operand_size);
  uint64_t value = read_port(core, port, insn.operand_size);
  write_register(core, vm::rax, insn.operand_size, value);
}

void out(Core& core, const Instruction& insn, uint16_t port) {
  check_port(core, port, insn.operand_size);
  write_port(core, port, insn.operand_size, truncate(core.cpu.gpr[vm::rax], insn.operand_size));
}

}  // namespace

void check_port(Core& core, uint16_t port, unsigned size) {
  if (!core.protected_mode()) return;
  bool by_level = !core.virtual_8086() && core.cpl() <= (core.cpu.rflags >> 12 & 3);
  if (!by_level) check_bitmap(core, port, size);
}

uint64_t read_port(Core& core, uint16_t port, unsigned size) {
  core.memory.note_port(port, size);
  return core.log.exchange(read_of(port, size));
}

void write_port(Core& core, uint16_t port, unsigned size, uint64_t value) {
  core.memory.note_port(port, size);
  core.log.exchange(write_of(port, size, value));
}

std::optional<vm::Access> port_access(Core& core, const Instruction& insn) {
  if (!core.log.empty()) return std::nullopt;
  uint16_t port = insn.has_immediate ? port_in_code(insn) : port_in_dx(core);
  check_port(core, port, insn.operand_size);
  if (insn.mnemonic == ZYDIS_MNEMONIC_IN) return read_of(port, insn.operand_size);
  return write_of(port, insn.operand_size, truncate(core.cpu.gpr[vm::rax], insn.operand_size));
}

void in_immediate(Core& core, const Instruction& insn) { in(core, insn, port_in_code(insn)); }
void in_dx(Core& core, const Instruction& insn) { in(core, insn, port_in_dx(core)); }
void out_immediate(Core& core, const Instruction& insn) { out(core, insn, port_in_code(insn)); }
void out_dx(Core& core, const Instruction& insn) { out(core, insn, port_in_dx(core)); }

}  // namespace dejavm::soft
