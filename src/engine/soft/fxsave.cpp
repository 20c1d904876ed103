// FXSAVE, FXRSTOR, MXCSR and EMMS (AMD64 APM volume 2, section 11.4.4).
#include <array>
#include <cstring>

#include "engine/soft/fault.h"
#include "engine/soft/native_ops.h"
#include "engine/soft/operands.h"

namespace dejavm::soft {
namespace {

constexpr size_t kImageSize = 512;
constexpr size_t kStackRegister = 10;  // of the 16 bytes that each has
constexpr size_t kFcwAt = 0, kFswAt = 2, kFtwAt = 4, kOpcodeAt = 6, kIpAt = 8, kDpAt = 16, kMxcsrAt = 24, kMxcsrMaskAt = 28,
                 kStackAt = 32, kXmmAt = 160;

using Image = std::array<uint8_t, kImageSize>;

template <typename T>
void put(Image& image, size_t at, T value) {
  std::memcpy(image.data() + at, &value, sizeof value);
}
template <typename T>
T get(const Image& image, size_t at) {
  T value;
  std::memcpy(&value, image.data() + at, sizeof value);
  return value;
}

void require_fxsave(const Core& core) {
  if ((core.cpu.cr0 & kCr0Em) != 0) raise(kInvalidOpcode);
  if ((core.cpu.cr0 & kCr0Ts) != 0) raise(kDeviceNotAvailable);
}

uint64_t image_address(Core& core, const Instruction& insn, bool write) {
  uint64_t address = effective_address(core, insn, kImageSize, write);
  if (address % 16 != 0) raise_gp();
  return address;
}

/// MXCSR is there always (as KVM does it), but on TCG.
bool has_mxcsr(const Core& core) { return !core.features.tcg || (core.cpu.cr4 & kCr4Osfxsr) != 0; }

/// Without CR4.OSFXSR legacy code has no XMM registers here.
size_t xmm_bytes(const Core& core) {
  if (core.code_bits() == 64) return has_mxcsr(core) ? 16 * size_t{16} : 0;
  return (core.cpu.cr4 & kCr4Osfxsr) != 0 ? 8 * size_t{16} : 0;
}

/// The pointers are 64 bits wide with REX.W; else 32 bits and a selector, which vm::Fpu does not keep.
bool wide_pointers(const Instruction& insn) {
  return insn.mnemonic == ZYDIS_MNEMONIC_FXSAVE64 || insn.mnemonic == ZYDIS_MNEMONIC_FXRSTOR64;
}

void write_pointers(const Instruction& insn, const vm::Fpu& fpu, Image& image) {
  put<uint64_t>(image, kIpAt, wide_pointers(insn) ? fpu.last_ip : static_cast<uint32_t>(fpu.last_ip));
  put<uint64_t>(image, kDpAt, wide_pointers(insn) ? fpu.last_dp : static_cast<uint32_t>(fpu.last_dp));
}

void read_pointers(const Instruction& insn, const Image& image, vm::Fpu& fpu) {
  bool pending = (fpu.fsw & kFswErrorSummary) != 0;
  uint64_t mask = wide_pointers(insn) ? ~uint64_t{0} : 0xffffffff;
  fpu.last_opcode = pending ? get<uint16_t>(image, kOpcodeAt) & 0x7ff : uint16_t{0};
  fpu.last_ip = pending ? get<uint64_t>(image, kIpAt) & mask : 0;
  fpu.last_dp = pending ? get<uint64_t>(image, kDpAt) & mask : 0;
}

void fxsave(Core& core, const Instruction& insn) {
  require_fxsave(core);
  const vm::Fpu& fpu = core.cpu.fpu;
  uint64_t address = image_address(core, insn, true);
  size_t size = kXmmAt + xmm_bytes(core);  // the rest of the 512 bytes stays as it is
  Image image{};
  if (core.features.tcg) {
    core.memory.probe_write(address, size);
    core.memory.read_bytes(address, image.data(), size);
  } else {
    put<uint16_t>(image, kOpcodeAt, fpu.last_opcode);
  }
  put<uint16_t>(image, kFcwAt, fpu.fcw);
  put<uint16_t>(image, kFswAt, fpu.fsw);
  put<uint16_t>(image, kFtwAt, fpu.ftw);
  write_pointers(insn, fpu, image);
  if (has_mxcsr(core)) {
    put<uint32_t>(image, kMxcsrAt, fpu.mxcsr);
    put<uint32_t>(image, kMxcsrMaskAt, kMxcsrMask);
  }
  for (size_t i = 0; i < fpu.st.size(); ++i) std::memcpy(image.data() + kStackAt + 16 * i, fpu.st[i].data(), kStackRegister);
  std::memcpy(image.data() + kXmmAt, fpu.xmm.data(), xmm_bytes(core));
  core.memory.write_bytes(address, image.data(), size);
}

void fxrstor(Core& core, const Instruction& insn) {
  require_fxsave(core);
  uint64_t address = image_address(core, insn, false);
  Image image{};
  core.memory.read_bytes(address, image.data(), kXmmAt + xmm_bytes(core));
  uint32_t mxcsr = has_mxcsr(core) ? get<uint32_t>(image, kMxcsrAt) : core.cpu.fpu.mxcsr;
  if ((mxcsr & ~kMxcsrMask) != 0) raise_gp();
  vm::Fpu& fpu = core.cpu.fpu;
  fpu.fsw = get<uint16_t>(image, kFswAt);
  fpu.ftw = get<uint8_t>(image, kFtwAt);
  load_control_word(core, get<uint16_t>(image, kFcwAt));
  read_pointers(insn, image, fpu);
  for (size_t i = 0; i < fpu.st.size(); ++i) {
    fpu.st[i].fill(0);
    std::memcpy(fpu.st[i].data(), image.data() + kStackAt + 16 * i, kStackRegister);
  }
  fpu.mxcsr = mxcsr;
  std::memcpy(fpu.xmm.data(), image.data() + kXmmAt, xmm_bytes(core));
}

void ldmxcsr(Core& core, const Instruction& insn) {
  require_sse(core);
  uint32_t value = read_memory<uint32_t>(core, insn);
  if ((value & ~kMxcsrMask) != 0) raise_gp();
  core.cpu.fpu.mxcsr = value;
}

void stmxcsr(Core& core, const Instruction& insn) {
  require_sse(core);
  write_memory<uint32_t>(core, insn, core.cpu.fpu.mxcsr);
}

void emms(Core& core, const Instruction&) {
  require_mmx(core);
  if (!core.features.tcg) enter_mmx(core.cpu.fpu);
  core.cpu.fpu.ftw = 0;
}

}  // namespace

bool bind_fxsave(const Decoded& decoded, Instruction& insn) {
  switch (decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
      insn.run = fxsave;
      return true;
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
      insn.run = fxrstor;
      return true;
    case ZYDIS_MNEMONIC_LDMXCSR:
      insn.run = ldmxcsr;
      return true;
    case ZYDIS_MNEMONIC_STMXCSR:
      insn.run = stmxcsr;
      return true;
    case ZYDIS_MNEMONIC_EMMS:
      insn.run = emms;
      return true;
    default:
      return false;
  }
}

}  // namespace dejavm::soft
