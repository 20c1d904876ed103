// SSE and MMX instructions that only move data: they are most of what a kernel uses, and need no stub.
//
// `selector` holds where in the vector register the moved bytes stand and whether a load clears the rest.
#include <cstring>

#include "engine/soft/fault.h"
#include "engine/soft/native_ops.h"
#include "engine/soft/operands.h"

namespace dejavm::soft {
namespace {

enum MoveUse : uint16_t {
  kHighHalf = 1,    ///< bytes 8 to 15
  kClearsRest = 2,  ///< of the destination, when it loads
  kMustBeAligned = 4,
};

using Vector = std::array<uint8_t, 16>;

// ---- XMM

void load(Core& core, const Instruction& insn) {
  require_sse(core);
  uint64_t address = effective_address(core, insn, insn.memory_size, false);
  uint8_t value[16];
  read_vector(core, address, value, insn.memory_size);
  Vector& to = core.cpu.fpu.xmm[insn.reg];
  if ((insn.selector & kClearsRest) != 0) to.fill(0);
  std::memcpy(to.data() + ((insn.selector & kHighHalf) != 0 ? 8 : 0), value, insn.memory_size);
}

void load_whole(Core& core, const Instruction& insn) {
  require_sse(core);
  uint64_t address = effective_address(core, insn, 16, false);
  if ((insn.selector & kMustBeAligned) != 0 && address % 16 != 0) raise_gp();
  Vector value;
  read_vector(core, address, value.data(), 16);
  core.cpu.fpu.xmm[insn.reg] = value;
}

void store(Core& core, const Instruction& insn) {
  require_sse(core);
  uint64_t address = effective_address(core, insn, insn.memory_size, true);
  if ((insn.selector & kMustBeAligned) != 0 && address % 16 != 0) raise_gp();
  const uint8_t* from = core.cpu.fpu.xmm[insn.reg].data() + ((insn.selector & kHighHalf) != 0 ? 8 : 0);
  write_vector(core, address, from, insn.memory_size);
}

void copy_whole(Core& core, const Instruction& insn) {
  require_sse(core);
  core.cpu.fpu.xmm[insn.reg] = core.cpu.fpu.xmm[insn.other];
}

/// MOVSS, MOVSD, MOVQ, MOVHLPS, MOVLHPS between registers.
template <size_t kSize, size_t kFrom, size_t kTo, bool kClear>
void copy_part(Core& core, const Instruction& insn) {
  require_sse(core);
  uint8_t part[kSize];
  std::memcpy(part, core.cpu.fpu.xmm[insn.other].data() + kFrom, kSize);
  Vector& to = core.cpu.fpu.xmm[insn.reg];
  if (kClear) to.fill(0);
  std::memcpy(to.data() + kTo, part, kSize);
}

void from_general(Core& core, const Instruction& insn) {
  require_sse(core);
  uint64_t value = truncate(core.cpu.gpr[insn.condition], insn.operand_size);
  Vector& to = core.cpu.fpu.xmm[insn.reg];
  to.fill(0);
  std::memcpy(to.data(), &value, sizeof value);
}

void to_general(Core& core, const Instruction& insn) {
  require_sse(core);
  uint64_t value = 0;
  std::memcpy(&value, core.cpu.fpu.xmm[insn.reg].data(), insn.operand_size);
  core.cpu.gpr[insn.condition] = value;
}

// ---- MMX

void mmx_load(Core& core, const Instruction& insn) {
  require_mmx(core);
  if (core.features.tcg) enter_mmx(core.cpu.fpu);
  uint64_t value = read_linear(core, effective_address(core, insn, insn.memory_size, false), insn.memory_size);
  enter_mmx(core.cpu.fpu);
  write_mmx(core, insn.reg, reinterpret_cast<const uint8_t*>(&value));
}

void mmx_store(Core& core, const Instruction& insn) {
  require_mmx(core);
  if (core.features.tcg) enter_mmx(core.cpu.fpu);
  uint64_t value = 0;
  std::memcpy(&value, physical_register(core.cpu.fpu, insn.reg), 8);
  write_linear(core, effective_address(core, insn, insn.memory_size, true), insn.memory_size, value);
  enter_mmx(core.cpu.fpu);
}

void mmx_copy(Core& core, const Instruction& insn) {
  require_mmx(core);
  enter_mmx(core.cpu.fpu);
  uint8_t value[8];
  std::memcpy(value, core.cpu.fpu.st[insn.other].data(), 8);
  write_mmx(core, insn.reg, value);
}

void mmx_from_general(Core& core, const Instruction& insn) {
  require_mmx(core);
  uint64_t value = truncate(core.cpu.gpr[insn.condition], insn.operand_size);
  enter_mmx(core.cpu.fpu);
  write_mmx(core, insn.reg, reinterpret_cast<const uint8_t*>(&value));
}

void mmx_to_general(Core& core, const Instruction& insn) {
  require_mmx(core);
  enter_mmx(core.cpu.fpu);
  uint64_t value = 0;
  std::memcpy(&value, core.cpu.fpu.st[insn.reg].data(), insn.operand_size);
  core.cpu.gpr[insn.condition] = value;
}

// ---- MOVNTI and the masked stores

void store_general(Core& core, const Instruction& insn) {
  write_linear(core, effective_address(core, insn, insn.operand_size, true), insn.operand_size,
               read_register(core, insn.reg, insn.operand_size));
}

/// MASKMOVDQU and MASKMOVQ: bytes of the first register whose mask byte, in the second, has its top bit set. AMD CPUs raise
/// the page faults of all bytes, stored or not (measured: Zen 4); CpuKind::tcg those of the bytes that it stores.
void store_masked(Core& core, const Instruction& insn, const uint8_t* value, const uint8_t* mask, unsigned size) {
  uint64_t rdi = truncate(core.cpu.gpr[vm::rdi], insn.address_size);
  uint64_t address = core.linear(static_cast<vm::SegmentName>(insn.segment), rdi, size, true);
  if (!core.features.tcg) core.memory.probe_write(address, size);
  for (unsigned i = 0; i < size; ++i) {
    if ((mask[i] & 0x80) != 0) core.memory.write<uint8_t>(address + i, value[i]);
  }
}

void store_masked_xmm(Core& core, const Instruction& insn) {
  require_sse(core);
  store_masked(core, insn, core.cpu.fpu.xmm[insn.reg].data(), core.cpu.fpu.xmm[insn.other].data(), 16);
}

void store_masked_mmx(Core& core, const Instruction& insn) {
  require_mmx(core);
  vm::Fpu& fpu = core.cpu.fpu;
  enter_mmx(fpu);  // also where the store then faults
  store_masked(core, insn, physical_register(fpu, insn.reg), physical_register(fpu, insn.other), 8);
}

// ---- Binding

/// A move between memory and part of a register.
bool bind_part(Instruction& insn, bool clears) {
  insn.run = insn.memory_is_destination ? store : load;
  if (clears) insn.selector |= kClearsRest;
  return true;
}

bool bind_whole(Instruction& insn, bool aligned) {
  if (!insn.has_memory) {
    insn.run = copy_whole;
    return true;
  }
  insn.run = insn.memory_is_destination ? store : load_whole;
  if (aligned) insn.selector |= kMustBeAligned;
  return true;
}

bool bind_xmm(ZydisMnemonic mnemonic, Instruction& insn) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_MOVAPS:
    case ZYDIS_MNEMONIC_MOVAPD:
    case ZYDIS_MNEMONIC_MOVDQA:
    case ZYDIS_MNEMONIC_MOVNTPS:
    case ZYDIS_MNEMONIC_MOVNTPD:
    case ZYDIS_MNEMONIC_MOVNTDQ:
    case ZYDIS_MNEMONIC_MOVNTDQA:
      return bind_whole(insn, true);
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_LDDQU:
      return bind_whole(insn, false);
    case ZYDIS_MNEMONIC_MOVSS:
      if (insn.has_memory) return bind_part(insn, true);
      insn.run = copy_part<4, 0, 0, false>;
      return true;
    case ZYDIS_MNEMONIC_MOVSD:
      if (insn.has_memory) return bind_part(insn, true);
      insn.run = copy_part<8, 0, 0, false>;
      return true;
    case ZYDIS_MNEMONIC_MOVNTSS:
    case ZYDIS_MNEMONIC_MOVNTSD:
      return bind_part(insn, false);
    case ZYDIS_MNEMONIC_MOVHPS:
    case ZYDIS_MNEMONIC_MOVHPD:
      insn.selector |= kHighHalf;
      return bind_part(insn, false);
    case ZYDIS_MNEMONIC_MOVLPS:
    case ZYDIS_MNEMONIC_MOVLPD:
      return bind_part(insn, false);
    case ZYDIS_MNEMONIC_MOVHLPS:
      insn.run = copy_part<8, 8, 0, false>;
      return true;
    case ZYDIS_MNEMONIC_MOVLHPS:
      insn.run = copy_part<8, 0, 8, false>;
      return true;
    case ZYDIS_MNEMONIC_MASKMOVDQU:
      insn.run = store_masked_xmm;
      return true;
    case ZYDIS_MNEMONIC_MOVD:
    case ZYDIS_MNEMONIC_MOVQ:
      if (insn.has_memory) return bind_part(insn, true);
      insn.run = copy_part<8, 0, 0, true>;
      return true;
    default:
      return false;
  }
}

bool bind_mmx(ZydisMnemonic mnemonic, Instruction& insn) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_MOVD:
    case ZYDIS_MNEMONIC_MOVQ:
    case ZYDIS_MNEMONIC_MOVNTQ:
      insn.run = !insn.has_memory ? mmx_copy : insn.memory_is_destination ? mmx_store : mmx_load;
      return true;
    case ZYDIS_MNEMONIC_MASKMOVQ:
      insn.run = store_masked_mmx;
      return true;
    default:
      return false;
  }
}

bool is_move(const ZydisDecodedInstruction& insn) {
  switch (insn.meta.isa_set) {
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSE2:
    case ZYDIS_ISA_SET_SSE2MMX:
    case ZYDIS_ISA_SET_SSE3:
    case ZYDIS_ISA_SET_SSE4:
    case ZYDIS_ISA_SET_SSE4A:
    case ZYDIS_ISA_SET_PENTIUMMMX:
      return insn.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
    default:
      return false;
  }
}

}  // namespace

bool bind_vector_move(const Decoded& decoded, Instruction& insn) {
  ZydisMnemonic mnemonic = decoded.insn.mnemonic;
  if (!is_move(decoded.insn)) return false;
  if (mnemonic == ZYDIS_MNEMONIC_MOVNTI) {
    insn.run = store_general;
    return true;
  }
  Instruction bound = insn;
  bound.reg = bound.other = kNoRegister;
  bound.selector = 0;
  bool mmx = false;
  bool general_first = false;
  bool general = false;
  for (int i = 0; i < 2; ++i) {
    if (!decoded.is_register(i)) continue;
    ZydisRegister reg = decoded.operands[i].reg.value;
    uint8_t number = vector_register(reg);
    mmx = mmx || is_mmx(reg);
    if (number == kNoRegister) {
      general = true;
      general_first = i == 0;
      bound.condition = general_register(reg);
      bound.operand_size = static_cast<uint8_t>(decoded.size(i));
    } else if (bound.reg == kNoRegister) {
      bound.reg = number;
    } else {
      bound.other = number;
    }
  }
  bool moves_general = general && (mnemonic == ZYDIS_MNEMONIC_MOVD || mnemonic == ZYDIS_MNEMONIC_MOVQ);
  if (moves_general) {
    bound.run = mmx ? (general_first ? mmx_to_general : mmx_from_general) : (general_first ? to_general : from_general);
  } else if (general || !(mmx ? bind_mmx(mnemonic, bound) : bind_xmm(mnemonic, bound))) {
    return false;
  }
  insn = bound;
  return true;
}

}  // namespace dejavm::soft
