// BT, BTS, BTR, BTC, BSF, BSR, POPCNT, LZCNT, TZCNT, CRC32 (AMD64 APM volume 3); what is undefined by undefined_flags.h.
#include <bit>

#include "engine/soft/arithmetic.h"
#include "engine/soft/integer_rooms.h"
#include "engine/soft/operand_forms.h"
#include "engine/soft/undefined_flags.h"

namespace dejavm::soft {
namespace {

enum class BitAction : uint8_t { test, set, reset, complement };

template <typename T>
T changed_bit(T value, T bit, BitAction action) {
  switch (action) {
    case BitAction::set:
      return static_cast<T>(value | bit);
    case BitAction::reset:
      return static_cast<T>(value & ~bit);
    case BitAction::complement:
      return static_cast<T>(value ^ bit);
    default:
      return value;
  }
}

/// Of bit 0 of `shifted`, the operand shifted to the right by the number of the bit, with all that was above it.
void set_bit_flags(Core& core, uint64_t shifted) {
  uint64_t changed = kCf, flags = shifted & kCf;
  if (core.features.tcg && core.frame.lazy_flags != kLazyUnknown) {
    unsigned top = (8u << lazy_width(core.frame.lazy_flags)) - 1;
    flags |= ((core.cpu.rflags & kSf) >> 7 ^ (shifted >> top & 1)) << 11;
    changed |= kAf | kOf;
  }
  set_flags(core, flags, changed);
}

template <typename T, BitAction action, typename TargetOfBit>
void act_on_bit(Core& core, const TargetOfBit& target, uint64_t number, uint64_t above) {
  T value = target.read();
  target.write(changed_bit(value, static_cast<T>(T{1} << number % kBits<T>), action));
  set_bit_flags(core, (above | value) >> number % kBits<T>);
}
template <typename T, BitAction action>
void act_on_bit_at(Core& core, uint64_t linear, uint64_t number) {
  if constexpr (action == BitAction::test) {
    set_bit_flags(core, core.memory.read<T>(linear) >> number % kBits<T>);
  } else {
    act_on_bit<T, action>(core, MemoryTarget<T>(core, linear), number, 0);
  }
}

template <typename T, BitAction action, bool by_immediate>
void bit_of_register(Core& core, const Instruction& insn) {
  uint64_t number = by_immediate ? insn.immediate : read_register<T>(core, insn.other);
  uint64_t whole = core.cpu.gpr[insn.reg];
  if constexpr (action == BitAction::test) {
    set_bit_flags(core, whole >> number % kBits<T>);
  } else {
    act_on_bit<T, action>(core, RegisterTarget<T>(core, insn), number, whole);
  }
}
template <typename T, BitAction action>
void bit_of_memory(Core& core, const Instruction& insn) {
  act_on_bit_at<T, action>(core, effective_address(core, insn, sizeof(T), action != BitAction::test), insn.immediate);
}
/// A bit string of any length: the register's number is signed and reaches before and behind the operand.
template <typename T, BitAction action>
void bit_of_string(Core& core, const Instruction& insn) {
  auto number = static_cast<int64_t>(static_cast<std::make_signed_t<T>>(read_register<T>(core, insn.reg)));
  auto distance = static_cast<uint64_t>((number >> std::countr_zero(kBits<T>)) * static_cast<int64_t>(sizeof(T)));
  uint64_t offset = truncate(effective_offset(core, insn) + distance, insn.address_size);
  uint64_t linear = core.linear(static_cast<vm::SegmentName>(insn.segment), offset, sizeof(T), action != BitAction::test);
  act_on_bit_at<T, action>(core, linear, static_cast<uint64_t>(number));
}

template <BitAction action>
Handler bit_handler(const Decoded& decoded) {
  return by_word_size(decoded.size(0), [&](auto type) -> Handler {
    using T = decltype(type);
    bool immediate = decoded.is_immediate(1);
    if (decoded.is_memory(0)) return immediate ? bit_of_memory<T, action> : bit_of_string<T, action>;
    return immediate ? bit_of_register<T, action, true> : bit_of_register<T, action, false>;
  });
}

/// Of a source that is not 0.
template <typename T>
void set_scan_flags(Core& core, T source, T index) {
  if (core.features.tcg) {
    set_flags(core, result_flags(source));
  } else if (core.features.scans_keep_flags) {
    set_flags(core, 0, kZf);
  } else {
    set_flags(core, result_flags(index) & kPf);
  }
}

template <typename T, bool memory, bool forward>
void scan(Core& core, const Instruction& insn) {
  T value = read_source < T, memory ? Form::reg_mem : Form::reg_reg > (core, insn);
  if (value == 0) {
    set_flags(core, kZf | kPf, core.features.scans_keep_flags ? kZf : kStatusFlags);
    if (core.features.tcg) write_register<T>(core, insn.reg, read_register<T>(core, insn.reg));
    return;
  }
  T index = static_cast<T>(forward ? std::countr_zero(value) : static_cast<int>(kBits<T>) - 1 - std::countl_zero(value));
  write_register<T>(core, insn.reg, index);
  set_scan_flags(core, value, index);
}

/// LZCNT and TZCNT.
template <typename T, bool memory, bool trailing>
void count_zeros(Core& core, const Instruction& insn) {
  T value = read_source < T, memory ? Form::reg_mem : Form::reg_reg > (core, insn);
  T count = static_cast<T>(trailing ? std::countr_zero(value) : std::countl_zero(value));
  write_register<T>(core, insn.reg, count);
  uint64_t changes = core.features.tcg ? kStatusFlags : kCountChanges;
  set_flags(core, (value == 0 ? kCf : 0) | (count == 0 ? kZf : 0), changes);
}

template <typename T, bool memory>
void count_ones(Core& core, const Instruction& insn) {
  T value = read_source < T, memory ? Form::reg_mem : Form::reg_reg > (core, insn);
  write_register<T>(core, insn.reg, static_cast<T>(std::popcount(value)));
  set_flags(core, value == 0 ? kZf : 0);
}

/// CRC-32C, least significant bit first; the register is 32 bits wide, in a 64-bit one the upper half becomes 0.
template <typename T, bool memory>
void accumulate_crc(Core& core, const Instruction& insn) {
  constexpr uint32_t kPolynomial = 0x82f63b78;
  T value = read_source < T, memory ? Form::reg_mem : Form::reg_reg > (core, insn);
  uint32_t crc = read_register<uint32_t>(core, insn.reg);
  for (unsigned byte = 0; byte < sizeof(T); ++byte) {
    crc ^= static_cast<uint8_t>(value >> 8 * byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? kPolynomial : 0);
  }
  write_register<uint32_t>(core, insn.reg, crc);
}

/// The bytes that CRC32 takes. To TCG 0x66 is 16 bits in every mode, and without it there are 32.
unsigned crc_size(const Decoded& decoded) {
  unsigned size = decoded.size(1);
  if (!decoded.features.tcg || size == 1) return size;
  if ((decoded.insn.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) != 0) return 2;
  return decoded.insn.raw.rex.W != 0 ? 8 : 4;
}

template <bool forward>
Handler scanner(const Decoded& decoded) {
  return by_word_size(decoded.size(0), [&](auto type) -> Handler {
    using T = decltype(type);
    return decoded.is_memory(1) ? scan<T, true, forward> : scan<T, false, forward>;
  });
}
template <bool trailing>
Handler zero_counter(const Decoded& decoded) {
  return by_word_size(decoded.size(0), [&](auto type) -> Handler {
    using T = decltype(type);
    return decoded.is_memory(1) ? count_zeros<T, true, trailing> : count_zeros<T, false, trailing>;
  });
}

Handler handler_for(const Decoded& decoded) {
  switch (decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
      return bit_handler<BitAction::test>(decoded);
    case ZYDIS_MNEMONIC_BTS:
      return bit_handler<BitAction::set>(decoded);
    case ZYDIS_MNEMONIC_BTR:
      return bit_handler<BitAction::reset>(decoded);
    case ZYDIS_MNEMONIC_BTC:
      return bit_handler<BitAction::complement>(decoded);
    case ZYDIS_MNEMONIC_BSF:
      return scanner<true>(decoded);
    case ZYDIS_MNEMONIC_BSR:
      return scanner<false>(decoded);
    case ZYDIS_MNEMONIC_TZCNT:
      return decoded.features.tzcnt ? zero_counter<true>(decoded) : scanner<true>(decoded);
    case ZYDIS_MNEMONIC_LZCNT:
      return decoded.features.lzcnt ? zero_counter<false>(decoded) : scanner<false>(decoded);
    case ZYDIS_MNEMONIC_POPCNT:
      return by_word_size(decoded.size(0), [&](auto type) -> Handler {
        return decoded.is_memory(1) ? count_ones<decltype(type), true> : count_ones<decltype(type), false>;
      });
    case ZYDIS_MNEMONIC_CRC32:
      return by_size(crc_size(decoded), [&](auto type) -> Handler {
        return decoded.is_memory(1) ? accumulate_crc<decltype(type), true> : accumulate_crc<decltype(type), false>;
      });
    default:
      return nullptr;
  }
}

}  // namespace

bool bind_bit(const Decoded& decoded, Instruction& insn) {
  Handler handler = handler_for(decoded);
  if (handler == nullptr) return false;
  insn.run = handler;
  return true;
}

}  // namespace dejavm::soft
