// x87 instructions that move the x87's own state: control and status word, environment, everything
// (AMD64 APM volume 1, section 6.2, and volume 2, section 11.4).
#include <algorithm>
#include <array>
#include <cstring>

#include "engine/soft/fault.h"
#include "engine/soft/native_ops.h"
#include "engine/soft/operands.h"

namespace dejavm::soft {
namespace {

constexpr size_t kRegisterSize = 10;
constexpr size_t kMaxImage = 56 + 8 * kRegisterSize;

/// The checks of instructions that do not wait for exceptions.
void require_device(const Core& core) {
  if ((core.cpu.cr0 & (kCr0Em | kCr0Ts)) != 0) raise(kDeviceNotAvailable);
}

void clear_pointers(vm::Fpu& fpu) {
  fpu.last_ip = fpu.last_dp = 0;
  fpu.last_opcode = 0;
}

/// Changes the status word; the registers stay where they are, but ST(i) is relative to the top, which may change.
void set_status_word(vm::Fpu& fpu, uint16_t value) {
  unsigned before = stack_top(fpu);
  fpu.fsw = value;
  unsigned moved = (stack_top(fpu) - before) & 7;
  std::rotate(fpu.st.begin(), fpu.st.begin() + moved, fpu.st.end());
}

void initialize(vm::Fpu& fpu) {
  set_status_word(fpu, 0);
  fpu.fcw = 0x37f;
  fpu.ftw = 0;
  clear_pointers(fpu);
}

// ---- Tag word: two bits a physical register in memory, one in Fpu

constexpr unsigned kTagValid = 0, kTagZero = 1, kTagSpecial = 2, kTagEmpty = 3;

unsigned tag_of(const uint8_t* value) {
  uint64_t fraction = 0;
  uint16_t exponent = 0;
  std::memcpy(&fraction, value, 8);
  std::memcpy(&exponent, value + 8, 2);
  exponent &= 0x7fff;
  if (exponent == 0 && fraction == 0) return kTagZero;
  bool normal = exponent != 0 && exponent != 0x7fff && fraction >> 63 != 0;
  return normal ? kTagValid : kTagSpecial;
}

uint16_t full_tag_word(vm::Fpu& fpu) {
  unsigned tags = 0;
  for (unsigned i = 0; i < 8; ++i) {
    unsigned tag = (fpu.ftw >> i & 1) != 0 ? tag_of(physical_register(fpu, i)) : kTagEmpty;
    tags |= tag << 2 * i;
  }
  return static_cast<uint16_t>(tags);
}

uint8_t abridged_tag_word(uint16_t tags) {
  unsigned bits = 0;
  for (unsigned i = 0; i < 8; ++i) {
    if ((tags >> 2 * i & 3) != kTagEmpty) bits |= 1u << i;
  }
  return static_cast<uint8_t>(bits);
}

// ---- The environment: 7 words of the operand size, in a real or a protected mode format

template <typename T>
void put(uint8_t* image, size_t word, T value) {
  std::memcpy(image + word * sizeof(T), &value, sizeof(T));
}
template <typename T>
T get(const uint8_t* image, size_t word) {
  T value;
  std::memcpy(&value, image + word * sizeof(T), sizeof(T));
  return value;
}

bool is_real_format(const Core& core) { return core.segments_are_shifted(); }
size_t environment_size(const Instruction& insn) { return insn.operand_size == 2 ? 14 : 28; }
/// Where FNSAVE and FRSTOR have the registers: TCG leaves as much room again with REX.W.
size_t registers_at(const Core& core, const Instruction& insn) {
  return core.features.tcg && insn.operand_size == 8 ? 56 : environment_size(insn);
}

/// In real mode the pointers are linear addresses; selectors are not kept (vm::Fpu), as in 64-bit FXSAVE.
template <typename T>
void write_pointers(const Core& core, const vm::Fpu& fpu, uint8_t* image) {
  constexpr bool kWide = sizeof(T) == 4;
  constexpr T reserved = kWide ? static_cast<T>(0xffff0000) : T{0};
  auto high = [](uint64_t pointer) {
    return kWide ? static_cast<T>((pointer >> 16 & 0xffff) << 12) : static_cast<T>((pointer >> 16 & 0xf) << 12);
  };
  if (is_real_format(core)) {
    put<T>(image, 3, static_cast<T>(kWide ? reserved | (fpu.last_ip & 0xffff) : fpu.last_ip));
    put<T>(image, 4, static_cast<T>(high(fpu.last_ip) | fpu.last_opcode));
    put<T>(image, 5, static_cast<T>(kWide ? reserved | (fpu.last_dp & 0xffff) : fpu.last_dp));
    put<T>(image, 6, high(fpu.last_dp));
  } else {
    put<T>(image, 3, static_cast<T>(fpu.last_ip));
    put<T>(image, 4, kWide ? static_cast<T>(static_cast<uint32_t>(fpu.last_opcode) << 16) : T{0});
    put<T>(image, 5, static_cast<T>(fpu.last_dp));
    put<T>(image, 6, reserved);
  }
}

/// TCG writes zeros beside the words; its pointers are of whatever instruction ran last, which is not modelled.
template <typename T>
void write_environment(const Core& core, vm::Fpu& fpu, uint8_t* image) {
  const T reserved = sizeof(T) == 4 && !core.features.tcg ? static_cast<T>(0xffff0000) : T{0};
  put<T>(image, 0, static_cast<T>(reserved | fpu.fcw));
  put<T>(image, 1, static_cast<T>(reserved | fpu.fsw));
  put<T>(image, 2, static_cast<T>(reserved | full_tag_word(fpu)));
  write_pointers<T>(core, fpu, image);
}

template <typename T>
void read_pointers(const Core& core, vm::Fpu& fpu, const uint8_t* image) {
  if ((fpu.fsw & kFswErrorSummary) == 0) return clear_pointers(fpu);
  uint32_t words[4];
  for (size_t i = 0; i < 4; ++i) words[i] = get<T>(image, 3 + i);
  constexpr bool kWide = sizeof(T) == 4;
  if (is_real_format(core)) {
    fpu.last_ip = (words[0] & 0xffff) | (words[1] & 0x0ffff000) << 4;
    fpu.last_opcode = words[1] & 0x7ff;
    fpu.last_dp = (words[2] & 0xffff) | (words[3] & 0x0ffff000) << 4;
  } else {
    fpu.last_ip = words[0];
    fpu.last_opcode = kWide ? words[1] >> 16 & 0x7ff : 0;
    fpu.last_dp = words[2];
  }
}

template <typename T>
void read_environment(Core& core, vm::Fpu& fpu, const uint8_t* image) {
  set_status_word(fpu, static_cast<uint16_t>(get<T>(image, 1)));
  fpu.ftw = abridged_tag_word(static_cast<uint16_t>(get<T>(image, 2)));
  load_control_word(core, static_cast<uint16_t>(get<T>(image, 0)));
  read_pointers<T>(core, fpu, image);
}

void write_environment(const Core& core, const Instruction& insn, vm::Fpu& fpu, uint8_t* image) {
  insn.operand_size == 2 ? write_environment<uint16_t>(core, fpu, image) : write_environment<uint32_t>(core, fpu, image);
}
void read_environment(Core& core, const Instruction& insn, vm::Fpu& fpu, const uint8_t* image) {
  insn.operand_size == 2 ? read_environment<uint16_t>(core, fpu, image) : read_environment<uint32_t>(core, fpu, image);
}

// ---- Handlers

void fnstcw(Core& core, const Instruction& insn) {
  require_device(core);
  write_memory<uint16_t>(core, insn, core.cpu.fpu.fcw);
}

void fldcw(Core& core, const Instruction& insn) {
  require_x87(core);
  uint16_t value = read_memory<uint16_t>(core, insn);
  if (core.features.tcg) {
    core.cpu.fpu.fcw = value;
  } else {
    load_control_word(core, value);
  }
}

void fnstsw(Core& core, const Instruction& insn) {
  require_device(core);
  if (insn.has_memory) {
    write_memory<uint16_t>(core, insn, core.cpu.fpu.fsw);
  } else {
    write_register<uint16_t>(core, vm::rax, core.cpu.fpu.fsw);
  }
}

void fnclex(Core& core, const Instruction&) {
  require_device(core);
  core.cpu.fpu.fsw &= 0x7f00;
  clear_pointers(core.cpu.fpu);
}

void fninit(Core& core, const Instruction&) {
  require_device(core);
  initialize(core.cpu.fpu);
}

void fwait(Core& core, const Instruction&) {
  constexpr uint64_t kWaitFaults = kCr0Mp | kCr0Ts;
  if ((core.cpu.cr0 & kWaitFaults) == kWaitFaults) raise(kDeviceNotAvailable);
  raise_pending_x87(core);
}

void fnstenv(Core& core, const Instruction& insn) {
  require_device(core);
  uint8_t image[kMaxImage];
  write_environment(core, insn, core.cpu.fpu, image);
  size_t size = environment_size(insn);
  core.memory.write_bytes(effective_address(core, insn, size, true), image, size);
  if (core.features.tcg) return;
  core.cpu.fpu.fcw |= kX87Exceptions;
  summarize_exceptions(core.cpu.fpu);
}

void fldenv(Core& core, const Instruction& insn) {
  require_x87(core);
  uint8_t image[kMaxImage];
  size_t size = environment_size(insn);
  core.memory.read_bytes(effective_address(core, insn, size, false), image, size);
  read_environment(core, insn, core.cpu.fpu, image);
}

void fnsave(Core& core, const Instruction& insn) {
  require_device(core);
  vm::Fpu& fpu = core.cpu.fpu;
  uint8_t image[kMaxImage];
  write_environment(core, insn, fpu, image);
  size_t size = environment_size(insn), gap = registers_at(core, insn) - size, at = size;
  for (const auto& reg : fpu.st) {
    std::memcpy(image + at, reg.data(), kRegisterSize);
    at += kRegisterSize;
  }
  uint64_t address = effective_address(core, insn, gap + at, true);
  if (gap == 0) {
    core.memory.write_bytes(address, image, at);
  } else {
    core.memory.write_bytes(address, image, size);
    core.memory.write_bytes(address + size + gap, image + size, at - size);
  }
  initialize(fpu);
}

void frstor(Core& core, const Instruction& insn) {
  require_x87(core);
  vm::Fpu& fpu = core.cpu.fpu;
  uint8_t image[kMaxImage];
  size_t at = registers_at(core, insn);
  size_t size = at + 8 * kRegisterSize;
  core.memory.read_bytes(effective_address(core, insn, size, false), image, size);
  read_environment(core, insn, fpu, image);
  for (auto& reg : fpu.st) {
    reg.fill(0);
    std::memcpy(reg.data(), image + at, kRegisterSize);
    at += kRegisterSize;
  }
}

/// FENI, FDISI, FSETPM: of earlier coprocessors.
void do_nothing(Core& core, const Instruction&) { require_device(core); }

Handler handler_of(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_FNSTCW:
      return fnstcw;
    case ZYDIS_MNEMONIC_FLDCW:
      return fldcw;
    case ZYDIS_MNEMONIC_FNSTSW:
      return fnstsw;
    case ZYDIS_MNEMONIC_FNCLEX:
      return fnclex;
    case ZYDIS_MNEMONIC_FNINIT:
      return fninit;
    case ZYDIS_MNEMONIC_FWAIT:
      return fwait;
    case ZYDIS_MNEMONIC_FNSTENV:
      return fnstenv;
    case ZYDIS_MNEMONIC_FLDENV:
      return fldenv;
    case ZYDIS_MNEMONIC_FNSAVE:
      return fnsave;
    case ZYDIS_MNEMONIC_FRSTOR:
      return frstor;
    case ZYDIS_MNEMONIC_FENI8087_NOP:
    case ZYDIS_MNEMONIC_FDISI8087_NOP:
    case ZYDIS_MNEMONIC_FSETPM287_NOP:
      return do_nothing;
    default:
      return nullptr;
  }
}

}  // namespace

bool bind_x87_control(const Decoded& decoded, Instruction& insn) {
  Handler handler = handler_of(decoded.insn.mnemonic);
  if (handler == nullptr) return false;
  insn.run = handler;
  return true;
}

}  // namespace dejavm::soft
