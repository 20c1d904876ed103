#include "engine/soft/native_ops.h"

#include <algorithm>
#include <cstring>

#include "engine/soft/fault.h"

namespace dejavm::soft {

void require_sse(const Core& core) {
  if ((core.cpu.cr0 & kCr0Em) != 0 || (core.cpu.cr4 & kCr4Osfxsr) == 0) raise(kInvalidOpcode);
  if ((core.cpu.cr0 & kCr0Ts) != 0) raise(kDeviceNotAvailable);
}

void require_mmx(const Core& core) {
  if ((core.cpu.cr0 & kCr0Em) != 0) raise(kInvalidOpcode);
  if ((core.cpu.cr0 & kCr0Ts) != 0) raise(kDeviceNotAvailable);
  if (!core.features.tcg) raise_pending_x87(core);
}

void require_x87(const Core& core) {
  if ((core.cpu.cr0 & (kCr0Em | kCr0Ts)) != 0) raise(kDeviceNotAvailable);
  if (!core.features.tcg) raise_pending_x87(core);
}

void raise_pending_x87(const Core& core) {
  if ((core.cpu.fpu.fsw & kFswErrorSummary) != 0 && (core.cpu.cr0 & kCr0Ne) != 0) raise(kX87Fault);
}

void enter_mmx(vm::Fpu& fpu) {
  // ST(i) is physical register top + i.
  std::rotate(fpu.st.begin(), fpu.st.begin() + ((8 - stack_top(fpu)) & 7), fpu.st.end());
  fpu.fsw &= static_cast<uint16_t>(~kFswTop);
  fpu.ftw = 0xff;
}

void write_mmx(Core& core, unsigned number, const uint8_t* value) {
  uint8_t* to = core.cpu.fpu.st[number].data();
  std::memcpy(to, value, 8);
  if (!core.features.tcg) std::memset(to + 8, 0xff, 2);
}

uint8_t vector_register(ZydisRegister reg) {
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_MMX:
      return static_cast<uint8_t>(ZydisRegisterGetId(reg));
    default:
      return kNoRegister;
  }
}

bool is_mmx(ZydisRegister reg) { return ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_MMX; }

void read_vector(Core& core, uint64_t linear, void* to, size_t size) {
  if (size == 16 && linear % vm::kPageSize <= vm::kPageSize - 16) {
    uint64_t halves[2];
    halves[0] = core.memory.read<uint64_t>(linear);
    halves[1] = core.memory.read<uint64_t>(linear + 8);
    std::memcpy(to, halves, sizeof halves);
  } else {
    core.memory.read_bytes(linear, to, size);
  }
}

void write_vector(Core& core, uint64_t linear, const void* from, size_t size) {
  constexpr size_t kHalf = 8;
  try {
    core.memory.write_bytes(linear, from, size);
  } catch (const GuestFault&) {
    // TCG stores two halves: the first stays where the second faults.
    if (core.features.tcg && size == 2 * kHalf) core.memory.write_bytes(linear, from, kHalf);
    throw;
  }
}

bool bind_native(const Decoded& decoded, NativeArena& arena, Instruction& insn) {
  return bind_vector_move(decoded, insn) || bind_fxsave(decoded, insn) || bind_x87_control(decoded, insn) ||
         bind_x87(decoded, arena, insn) || bind_approximation(decoded, insn) || bind_packed_compare(decoded, insn) ||
         bind_vector(decoded, arena, insn);
}

}  // namespace dejavm::soft
