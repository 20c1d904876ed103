// PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM: comparisons of two packed strings of up to 16 bytes or 8 words (AMD64 APM
// volume 4, PCMPESTRI and appendix A.8). In C++: the lengths come from two more registers or from the strings themselves,
// the result goes to ECX or XMM0, and no stub has places for all that.
#include <algorithm>
#include <cstring>

#include "engine/soft/flags.h"
#include "engine/soft/native_ops.h"
#include "engine/soft/operands.h"

namespace dejavm::soft {
namespace {

enum Aggregation : unsigned { kEqualAny = 0, kRanges = 1, kEqualEach = 2, kEqualOrdered = 3 };

/// The immediate byte.
struct Control {
  explicit Control(uint64_t immediate)
      : words((immediate & 1) != 0),
        is_signed((immediate & 2) != 0),
        aggregation(static_cast<Aggregation>(immediate >> 2 & 3)),
        negative((immediate & 16) != 0),
        masked((immediate & 32) != 0),
        high((immediate & 64) != 0),
        count(words ? 8 : 16),
        all(words ? 0xff : 0xffff) {}

  bool words, is_signed;
  Aggregation aggregation;
  bool negative, masked;  // polarity; masked: only where the second string has an element
  bool high;              // the index of the highest bit, or a mask of whole elements
  unsigned count;         // elements of an operand
  uint32_t all;           // a bit for each of them
};

struct Packed {
  int value[16] = {};
  unsigned length = 0;  // elements that count
};

Packed unpack(const uint8_t* from, const Control& control) {
  Packed packed;
  for (unsigned i = 0; i < control.count; ++i) {
    uint16_t raw = from[i];
    if (control.words) std::memcpy(&raw, from + 2 * i, 2);
    int sign = control.words ? 0x8000 : 0x80;
    packed.value[i] = control.is_signed ? (raw ^ sign) - sign : raw;
  }
  packed.length = control.count;
  return packed;
}

void end_at_zero(Packed& packed, const Control& control) {
  packed.length = static_cast<unsigned>(std::find(packed.value, packed.value + control.count, 0) - packed.value);
}

/// The length is the register's distance from zero, cut to what there is.
void end_at_length(Packed& packed, const Control& control, uint64_t value, bool wide) {
  uint64_t sign_extended = wide ? value : static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(value)));
  uint64_t distance = static_cast<int64_t>(sign_extended) < 0 ? 0 - sign_extended : sign_extended;
  packed.length = static_cast<unsigned>(std::min<uint64_t>(distance, control.count));
}

bool equals_any(const Packed& set, int element) {
  return std::find(set.value, set.value + set.length, element) != set.value + set.length;
}

bool in_ranges(const Packed& ranges, int element) {
  for (unsigned i = 0; i + 1 < ranges.length; i += 2) {
    if (element >= ranges.value[i] && element <= ranges.value[i + 1]) return true;
  }
  return false;
}

/// Whether as much of `needle` as can stand in the operand stands at `at`.
bool found_at(const Packed& needle, const Packed& string, unsigned at, const Control& control) {
  for (unsigned i = 0; i < needle.length && at + i < control.count; ++i) {
    if (at + i >= string.length || string.value[at + i] != needle.value[i]) return false;
  }
  return true;
}

bool holds_at(const Packed& first, const Packed& second, unsigned at, const Control& control) {
  bool in_first = at < first.length, in_second = at < second.length;
  switch (control.aggregation) {
    case kEqualAny:
      return in_second && equals_any(first, second.value[at]);
    case kRanges:
      return in_second && in_ranges(first, second.value[at]);
    case kEqualEach:
      return in_first == in_second && (!in_first || first.value[at] == second.value[at]);
    case kEqualOrdered:
      break;
  }
  return found_at(first, second, at, control);
}

uint32_t compare(const Packed& first, const Packed& second, const Control& control) {
  uint32_t result = 0;
  for (unsigned at = 0; at < control.count; ++at) {
    bool holds = holds_at(first, second, at, control);
    bool inverted = control.negative && (!control.masked || at < second.length);
    if (holds != inverted) result |= 1u << at;
  }
  return result;
}

uint64_t index_of(uint32_t result, const Control& control) {
  if (result == 0) return control.count;
  return static_cast<uint64_t>(control.high ? 31 - __builtin_clz(result) : __builtin_ctz(result));
}

void write_mask(uint32_t result, const Control& control, uint8_t* to) {
  std::memset(to, 0, 16);
  unsigned size = control.words ? 2 : 1;
  for (unsigned i = 0; control.high && i < control.count; ++i) {
    if ((result >> i & 1) != 0) std::memset(to + size * i, 0xff, size);
  }
  if (!control.high) std::memcpy(to, &result, 2);
}

void set_flags(vm::CpuState& cpu, uint32_t result, const Packed& first, const Packed& second, const Control& control) {
  uint64_t flags = 0;
  if (result != 0) flags |= kCf;
  if (second.length < control.count) flags |= kZf;
  if (first.length < control.count) flags |= kSf;
  if ((result & 1) != 0) flags |= kOf;
  cpu.rflags = (cpu.rflags & ~kStatusFlags) | flags;
}

template <bool kLengthsAreGiven, bool kGivesIndex>
void compare_packed(Core& core, const Instruction& insn) {
  require_sse(core);
  vm::CpuState& cpu = core.cpu;
  uint8_t operand[16];
  if (insn.has_memory) {
    read_vector(core, effective_address(core, insn, sizeof operand, false), operand, sizeof operand);
  } else {
    std::memcpy(operand, cpu.fpu.xmm[insn.other].data(), sizeof operand);
  }
  Control control(insn.immediate);
  Packed first = unpack(cpu.fpu.xmm[insn.reg].data(), control), second = unpack(operand, control);
  if (kLengthsAreGiven) {
    end_at_length(first, control, cpu.gpr[vm::rax], insn.operand_size == 8);
    end_at_length(second, control, cpu.gpr[vm::rdx], insn.operand_size == 8);
  } else {
    end_at_zero(first, control);
    end_at_zero(second, control);
  }
  uint32_t result = compare(first, second, control);
  if (kGivesIndex) {
    cpu.gpr[vm::rcx] = index_of(result, control);
  } else {
    write_mask(result, control, cpu.fpu.xmm[0].data());
  }
  set_flags(cpu, result, first, second, control);
}

Handler handler_of(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_PCMPESTRI:
      return compare_packed<true, true>;
    case ZYDIS_MNEMONIC_PCMPESTRM:
      return compare_packed<true, false>;
    case ZYDIS_MNEMONIC_PCMPISTRI:
      return compare_packed<false, true>;
    case ZYDIS_MNEMONIC_PCMPISTRM:
      return compare_packed<false, false>;
    default:
      return nullptr;
  }
}

}  // namespace

bool bind_packed_compare(const Decoded& decoded, Instruction& insn) {
  Handler handler = handler_of(decoded.insn.mnemonic);
  if (handler == nullptr) return false;
  insn.reg = vector_register(decoded.operands[0].reg.value);
  if (decoded.is_register(1)) insn.other = vector_register(decoded.operands[1].reg.value);
  bool wide = decoded.insn.raw.rex.W != 0 && !decoded.features.tcg;  // TCG takes no notice of it
  insn.operand_size = wide ? 8 : 4;                                  // of the lengths
  insn.run = handler;
  return true;
}

}  // namespace dejavm::soft
