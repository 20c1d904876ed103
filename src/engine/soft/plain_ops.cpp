// Single flags, LAHF and SAHF, BOUND, and what does nothing: NOPs, prefetches, fences, CLFLUSH.
#include "engine/soft/arithmetic.h"
#include "engine/soft/integer_rooms.h"
#include "engine/soft/operand_forms.h"

namespace dejavm::soft {

void do_nothing(Core&, const Instruction&) {}

namespace {

template <uint64_t flag>
void clear_flag(Core& core, const Instruction&) {
  core.cpu.rflags &= ~flag;
}
template <uint64_t flag>
void set_flag(Core& core, const Instruction&) {
  core.cpu.rflags |= flag;
}
void complement_carry(Core& core, const Instruction&) { core.cpu.rflags ^= kCf; }

constexpr uint64_t kLowFlags = kSf | kZf | kAf | kPf | kCf;
constexpr uint8_t kAh = kHighByte;

void load_ah(Core& core, const Instruction&) {
  write_register<uint8_t>(core, kAh, static_cast<uint8_t>((core.cpu.rflags & kLowFlags) | 2));
}
void store_ah(Core& core, const Instruction&) { set_flags(core, read_register<uint8_t>(core, kAh), kLowFlags); }

/// Memory is always coherent here; what remains is that the line must be readable, of which TCG knows nothing.
void flush_line(Core& core, const Instruction& insn) {
  if (!core.features.tcg) core.memory.probe_read(effective_address(core, insn, 1, false), 1);
}

template <typename T>
void check_bounds(Core& core, const Instruction& insn) {
  using Signed = std::make_signed_t<T>;
  uint64_t linear = effective_address(core, insn, 2 * sizeof(T), false);
  auto lower = static_cast<Signed>(core.memory.read<T>(linear));
  auto upper = static_cast<Signed>(core.memory.read<T>(static_cast<uint32_t>(linear + sizeof(T))));  // no BOUND in 64 bits
  auto index = static_cast<Signed>(read_register<T>(core, insn.reg));
  if (index < lower || index > upper) raise(kBoundRange);
}

Handler flag_handler(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_CLC:
      return clear_flag<kCf>;
    case ZYDIS_MNEMONIC_STC:
      return set_flag<kCf>;
    case ZYDIS_MNEMONIC_CMC:
      return complement_carry;
    case ZYDIS_MNEMONIC_CLD:
      return clear_flag<kDf>;
    case ZYDIS_MNEMONIC_STD:
      return set_flag<kDf>;
    case ZYDIS_MNEMONIC_LAHF:
      return load_ah;
    case ZYDIS_MNEMONIC_SAHF:
      return store_ah;
    default:
      return nullptr;
  }
}

Handler idle_handler(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_PAUSE:
    case ZYDIS_MNEMONIC_ENDBR32:
    case ZYDIS_MNEMONIC_ENDBR64:
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PREFETCHWT1:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_MFENCE:
    case ZYDIS_MNEMONIC_SFENCE:
      return do_nothing;
    case ZYDIS_MNEMONIC_CLFLUSH:
      return flush_line;
    default:
      return nullptr;
  }
}

}  // namespace

bool bind_plain(const Decoded& decoded, Instruction& insn) {
  Handler handler = flag_handler(decoded.insn.mnemonic);
  if (handler == nullptr) handler = idle_handler(decoded.insn.mnemonic);
  if (decoded.insn.mnemonic == ZYDIS_MNEMONIC_BOUND) {
    handler = decoded.size(0) == 2 ? check_bounds<uint16_t> : check_bounds<uint32_t>;
  }
  if (handler == nullptr) return false;
  insn.run = handler;
  return true;
}

}  // namespace dejavm::soft
