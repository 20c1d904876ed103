#include "vm/instruction.h"

#include <Zydis/Zydis.h>

#include <algorithm>

#include "vm/translate.h"

namespace dejavm::vm {
namespace {

struct Decoded {
  ZydisDecodedInstruction instruction;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

bool decode(ByteSpan bytes, unsigned code_bits, Decoded& out) {
  ZydisDecoder decoder;
  if (code_bits == 64) {
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  } else if (code_bits == 32) {
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
  } else {
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
  }
  return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(), &out.instruction, out.operands));
}

bool is_memory(const ZydisDecodedOperand& operand) {
  return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type != ZYDIS_MEMOP_TYPE_AGEN;
}

/// The value of a register that may address memory, as the given state has it.
std::optional<uint64_t> register_value(const CpuState& cpu, ZydisRegister reg, uint64_t next_rip) {
  if (reg == ZYDIS_REGISTER_NONE) return 0;
  ZydisRegister wide = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
  if (wide == ZYDIS_REGISTER_RIP) return next_rip;
  if (wide < ZYDIS_REGISTER_RAX || wide > ZYDIS_REGISTER_R15) return std::nullopt;
  return low_bytes(cpu.gpr[static_cast<unsigned>(wide - ZYDIS_REGISTER_RAX)],
                   ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, reg) / 8u);
}

std::optional<uint64_t> segment_base(const CpuState& cpu, ZydisRegister segment) {
  if (segment < ZYDIS_REGISTER_ES || segment > ZYDIS_REGISTER_GS) return std::nullopt;
  auto name = static_cast<unsigned>(segment - ZYDIS_REGISTER_ES);
  if (cpu.code_bits() == 64 && name != fs && name != gs) return 0;
  return cpu.segment[name].base;
}

bool acts_as(const ZydisDecodedOperand& operand, const Access& access) {
  return (operand.actions & (access.is_write() ? ZYDIS_OPERAND_ACTION_MASK_WRITE : ZYDIS_OPERAND_ACTION_MASK_READ)) != 0;
}

/// The linear address of a memory operand, with the registers now.
std::optional<uint64_t> operand_address(const Decoded& decoded, const ZydisDecodedOperand& operand, const CpuState& cpu,
                                        uint64_t next_rip) {
  if (!is_memory(operand)) return std::nullopt;
  auto base = register_value(cpu, operand.mem.base, next_rip);
  auto index = register_value(cpu, operand.mem.index, next_rip);
  auto segment = segment_base(cpu, operand.mem.segment);
  if (!base || !index || !segment) return std::nullopt;
  uint64_t offset = *base + *index * operand.mem.scale + static_cast<uint64_t>(operand.mem.disp.value);
  return *segment + low_bytes(offset, decoded.instruction.address_width / 8u);
}

/// Whether one of `bytes` bytes from a linear address on is the first of the access. They may lie on two pages.
bool covers(const CpuState& cpu, const GuestMemory& memory, uint64_t linear, uint64_t bytes, const Access& access) {
  uint64_t last = linear + std::max<uint64_t>(bytes, 1) - 1;
  auto gpa = translate(cpu, memory, {linear});
  if (gpa && access.addr - gpa->value <= last - linear) return true;
  uint64_t second_page = last & ~(kPageSize - 1);
  if (second_page <= linear) return false;
  gpa = translate(cpu, memory, {second_page});
  return gpa && access.addr - gpa->value <= last - second_page;
}

/// Whether a memory operand of the instruction, addressed with the registers now, lies at the accessed address. String and
/// stack instructions have moved their pointer already: both places are tried.
bool operand_fits(const Decoded& decoded, const ZydisDecodedOperand& operand, const CpuState& cpu, const GuestMemory& memory,
                  const Access& access, uint64_t next_rip) {
  auto linear = operand_address(decoded, operand, cpu, next_rip);
  if (!linear) return false;
  uint64_t bytes = operand.size / 8;
  bool hidden = operand.visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT;
  for (uint64_t moved : {uint64_t{0}, bytes, ~bytes + 1}) {
    if (moved != 0 && !hidden) break;
    if (covers(cpu, memory, *linear + moved, bytes, access)) return true;
  }
  return false;
}

bool makes_access(const Decoded& decoded, const CpuState& cpu, const GuestMemory& memory, const Access& access,
                  uint64_t next_rip) {
  if (access.space == Space::pio) {
    ZydisMnemonic m = decoded.instruction.mnemonic;
    bool out =
        m == ZYDIS_MNEMONIC_OUT || m == ZYDIS_MNEMONIC_OUTSB || m == ZYDIS_MNEMONIC_OUTSW || m == ZYDIS_MNEMONIC_OUTSD;
    bool in = m == ZYDIS_MNEMONIC_IN || m == ZYDIS_MNEMONIC_INSB || m == ZYDIS_MNEMONIC_INSW || m == ZYDIS_MNEMONIC_INSD;
    if (access.is_write() ? !out : !in) return false;
    for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
      const ZydisDecodedOperand& operand = decoded.operands[i];
      if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) return operand.imm.value.u == access.addr;
    }
    return static_cast<uint16_t>(cpu.gpr[rdx]) == access.addr;
  }
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operands[i];
    if (acts_as(operand, access) && operand_fits(decoded, operand, cpu, memory, access, next_rip)) return true;
  }
  return false;
}

StepHazard step_hazard(const Decoded& decoded) {
  const ZydisDecodedOperand& first = decoded.operands[0];
  bool loads_ss = first.type == ZYDIS_OPERAND_TYPE_REGISTER && first.reg.value == ZYDIS_REGISTER_SS;
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ:
      return StepHazard::pushes_flags;
    case ZYDIS_MNEMONIC_SYSCALL:
      return StepHazard::system_call;
    case ZYDIS_MNEMONIC_SYSRET:
      return StepHazard::system_return;
    case ZYDIS_MNEMONIC_INT:
    case ZYDIS_MNEMONIC_INT3:
      return StepHazard::software_interrupt;
    case ZYDIS_MNEMONIC_STI:
      return StepHazard::sets_interrupts;
    case ZYDIS_MNEMONIC_LSS:
      return StepHazard::loads_stack_segment;
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_POP:
      return loads_ss ? StepHazard::loads_stack_segment : StepHazard::none;
    default:
      return StepHazard::none;
  }
}

uint8_t software_vector(const Decoded& decoded) {
  constexpr uint8_t kBreakpoint = 3;
  const ZydisDecodedOperand& first = decoded.operands[0];
  return first.type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? static_cast<uint8_t>(first.imm.value.u) : kBreakpoint;
}

/// Of the common instructions on general registers those that raise no exception; of the rest nothing is known.
bool may_fault(const Decoded& decoded) {
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operands[i];
    if (is_memory(operand)) return true;
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    switch (ZydisRegisterGetClass(operand.reg.value)) {
      case ZYDIS_REGCLASS_GPR8:
      case ZYDIS_REGCLASS_GPR16:
      case ZYDIS_REGCLASS_GPR32:
      case ZYDIS_REGCLASS_GPR64:
      case ZYDIS_REGCLASS_FLAGS:
      case ZYDIS_REGCLASS_IP:
        break;
      default:
        return true;
    }
  }
  switch (decoded.instruction.meta.category) {
    case ZYDIS_CATEGORY_BINARY:
      return decoded.instruction.mnemonic == ZYDIS_MNEMONIC_DIV || decoded.instruction.mnemonic == ZYDIS_MNEMONIC_IDIV;
    case ZYDIS_CATEGORY_LOGICAL:
    case ZYDIS_CATEGORY_SHIFT:
    case ZYDIS_CATEGORY_ROTATE:
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_CMOV:
    case ZYDIS_CATEGORY_NOP:
      return false;
    case ZYDIS_CATEGORY_DATAXFER:
      return decoded.instruction.mnemonic != ZYDIS_MNEMONIC_MOV && decoded.instruction.mnemonic != ZYDIS_MNEMONIC_MOVZX &&
             decoded.instruction.mnemonic != ZYDIS_MNEMONIC_MOVSX && decoded.instruction.mnemonic != ZYDIS_MNEMONIC_MOVSXD;
    default:
      return true;
  }
}

}  // namespace

std::optional<InstructionInfo> decode_instruction(ByteSpan bytes, unsigned code_bits) {
  Decoded decoded;
  if (!decode(bytes, code_bits, decoded)) return std::nullopt;
  InstructionInfo info;
  info.length = decoded.instruction.length;
  info.repeated =
      (decoded.instruction.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operands[i];
    if (!is_memory(operand)) continue;
    if ((operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0) ++info.memory_reads;
    if ((operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0) ++info.memory_writes;
    info.operand_bytes = std::max(info.operand_bytes, operand.size / 8u);
  }
  info.hazard = step_hazard(decoded);
  info.vector = info.hazard == StepHazard::software_interrupt ? software_vector(decoded) : uint8_t{0};
  info.may_fault = may_fault(decoded);
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_IN:
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_INSD:
      info.port_read = true;
      break;
    case ZYDIS_MNEMONIC_OUT:
    case ZYDIS_MNEMONIC_OUTSB:
    case ZYDIS_MNEMONIC_OUTSW:
    case ZYDIS_MNEMONIC_OUTSD:
      info.port_write = true;
      break;
    default:
      break;
  }
  return info;
}

bool follows_sti(const CpuState& cpu, const GuestMemory& memory) {
  constexpr uint8_t kSti = 0xfb;
  unsigned ring = cpu.segment[cs].selector & 3, allowed = cpu.rflags >> 12 & 3;
  uint8_t before = 0;
  return ring <= allowed && read_virtual(cpu, memory, {cpu.linear_rip() - 1}, {&before, 1}) == 1 && before == kSti;
}

std::optional<InstructionInfo> decode_at(const CpuState& cpu, const GuestMemory& memory, GuestVirt addr) {
  uint8_t bytes[15];
  size_t got = read_virtual(cpu, memory, addr, bytes);
  return decode_instruction({bytes, got}, cpu.code_bits());
}

std::optional<unsigned> accessed_operand(const CpuState& cpu, const GuestMemory& memory, GuestVirt instruction,
                                         const Access& access) {
  uint8_t bytes[15];
  size_t got = read_virtual(cpu, memory, instruction, bytes);
  Decoded decoded;
  if (!decode({bytes, got}, cpu.code_bits(), decoded)) return std::nullopt;
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operands[i];
    if (!acts_as(operand, access)) continue;
    auto linear = operand_address(decoded, operand, cpu, cpu.rip + decoded.instruction.length);
    if (linear && covers(cpu, memory, *linear, operand.size / 8, access)) return i;
  }
  return std::nullopt;
}

std::string disassemble(ByteSpan bytes, unsigned code_bits, GuestVirt addr) {
  Decoded decoded;
  if (!decode(bytes, code_bits, decoded)) return "(not an instruction)";
  ZydisFormatter formatter;
  ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
  char text[128];
  ZydisFormatterFormatInstruction(&formatter, &decoded.instruction, decoded.operands,
                                  decoded.instruction.operand_count_visible, text, sizeof text, addr.value, nullptr);
  return text;
}

std::optional<GuestVirt> find_accessing_instruction(const CpuState& cpu, const GuestMemory& memory, const Access& access) {
  uint8_t window[30] = {};  // 15 bytes before RIP, 15 from it
  uint64_t rip = cpu.linear_rip();
  if (rip < 15 || read_virtual(cpu, memory, {rip - 15}, {window, 15}) != 15) return std::nullopt;
  size_t after = read_virtual(cpu, memory, {rip}, {window + 15, 15});
  Decoded decoded;
  if (after > 0 && decode({window + 15, after}, cpu.code_bits(), decoded) && !access.is_write() &&
      makes_access(decoded, cpu, memory, access, cpu.rip + decoded.instruction.length)) {
    return GuestVirt{rip};
  }
  // The longest that fits: a prefix belongs to its instruction.
  for (unsigned length = 15; length > 0; --length) {
    if (!decode({window + 15 - length, length}, cpu.code_bits(), decoded) || decoded.instruction.length != length) continue;
    if (makes_access(decoded, cpu, memory, access, cpu.rip)) return GuestVirt{rip - length};
  }
  // A rep string instruction that goes on has not moved RIP.
  if (after > 0 && decode({window + 15, after}, cpu.code_bits(), decoded) &&
      makes_access(decoded, cpu, memory, access, cpu.rip + decoded.instruction.length)) {
    return GuestVirt{rip};
  }
  return std::nullopt;
}

}  // namespace dejavm::vm
