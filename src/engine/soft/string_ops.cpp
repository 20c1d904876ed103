#include "engine/soft/string_ops.h"

#include <algorithm>
#include <cstring>

#include "engine/soft/arithmetic.h"
#include "engine/soft/decode.h"
#include "engine/soft/operand_forms.h"
#include "engine/soft/port_ops.h"

namespace dejavm::soft {

uint64_t elements_in_reach(const Core& core, const StringRegisters& registers, vm::SegmentName segment, uint64_t offset,
                           uint64_t linear, uint64_t size, uint64_t wanted) {
  uint64_t in_page = linear & 0xfff;
  if (in_page + size > 0x1000) return 0;
  if (registers.backwards()) return std::min({wanted, in_page / size + 1, offset / size + 1});
  uint64_t last = registers.mask();
  if (core.code_bits() != 64) {
    const vm::Segment& where = core.cpu.segment[segment];
    bool grows_down = (where.type & 0b1100) == 0b0100;
    if (grows_down) return std::min<uint64_t>(wanted, 1);
    last = std::min<uint64_t>(last, where.limit);
  }
  if (last - offset < size - 1) return 0;
  uint64_t in_segment = (last - offset - (size - 1)) / size + 1;
  return std::min({wanted, (0x1000 - in_page) / size, in_segment});
}

namespace {

/// One of a string instruction's two places: segment, offset register.
struct Place {
  vm::SegmentName segment;
  vm::Gpr reg;
};
Place source_of(const Instruction& insn) { return {static_cast<vm::SegmentName>(insn.segment), vm::rsi}; }
constexpr Place kDestination = {vm::es, vm::rdi};

uint64_t address_of(Core& core, const StringRegisters& registers, Place place, size_t size, bool write) {
  return core.linear(place.segment, registers.get(place.reg), size, write);
}

/// Plain RAM for the next elements; null or no elements: go the slow way.
template <typename Byte>
struct Run {
  Byte* at = nullptr;
  uint64_t count = 0;
};
template <typename T>
Run<const uint8_t> readable(Core& core, const StringRegisters& registers, Place place, uint64_t wanted) {
  uint64_t linear = address_of(core, registers, place, sizeof(T), false);
  uint64_t count = elements_in_reach(core, registers, place.segment, registers.get(place.reg), linear, sizeof(T), wanted);
  return {count == 0 ? nullptr : core.memory.direct_read(linear, sizeof(T)), count};
}
template <typename T>
Run<uint8_t> writable(Core& core, const StringRegisters& registers, Place place, uint64_t wanted) {
  uint64_t linear = address_of(core, registers, place, sizeof(T), true);
  uint64_t count = elements_in_reach(core, registers, place.segment, registers.get(place.reg), linear, sizeof(T), wanted);
  return {count == 0 ? nullptr : core.memory.direct_write(linear, sizeof(T)), count};
}

template <typename T>
T load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// Each string instruction has one(): a single element by accesses that may throw, then its pointers; and many(): at most
// `wanted` elements of plain RAM, returning how many it did (0: use one()). Neither touches the counter.

template <typename T>
struct Move {
  static constexpr bool kCompares = false;
  static void one(Core& core, const Instruction& insn, StringRegisters& registers) {
    T value = core.memory.read<T>(address_of(core, registers, source_of(insn), sizeof(T), false));
    core.memory.write<T>(address_of(core, registers, kDestination, sizeof(T), true), value);
    finish(registers, 1);
  }
  static uint64_t many(Core& core, const Instruction& insn, StringRegisters& registers, uint64_t wanted) {
    Run<const uint8_t> from = readable<T>(core, registers, source_of(insn), wanted);
    if (from.at == nullptr) return 0;
    Run<uint8_t> to = writable<T>(core, registers, kDestination, from.count);
    if (to.at == nullptr) return 0;
    copy(from.at, to.at, to.count, registers.backwards());
    finish(registers, to.count);
    return to.count;
  }

 private:
  static void copy(const uint8_t* from, uint8_t* to, uint64_t count, bool backwards) {
    uint64_t bytes = count * sizeof(T);
    bool apart = from + bytes <= to || to + bytes <= from;
    if (apart && !backwards) {
      std::memcpy(to, from, bytes);
      return;
    }
    std::ptrdiff_t step = backwards ? -static_cast<std::ptrdiff_t>(sizeof(T)) : static_cast<std::ptrdiff_t>(sizeof(T));
    for (; count > 0; --count, from += step, to += step) {  // an element may read what an earlier one wrote
      T value = load<T>(from);
      std::memcpy(to, &value, sizeof value);
    }
  }
  static void finish(StringRegisters& registers, uint64_t count) {
    registers.advance(vm::rsi, count, sizeof(T));
    registers.advance(vm::rdi, count, sizeof(T));
  }
};

template <typename T>
struct Store {
  static constexpr bool kCompares = false;
  static void one(Core& core, const Instruction&, StringRegisters& registers) {
    uint64_t linear = address_of(core, registers, kDestination, sizeof(T), true);
    core.memory.write<T>(linear, read_register<T>(core, vm::rax));
    registers.advance(vm::rdi, 1, sizeof(T));
  }
  static uint64_t many(Core& core, const Instruction&, StringRegisters& registers, uint64_t wanted) {
    Run<uint8_t> to = writable<T>(core, registers, kDestination, wanted);
    if (to.at == nullptr) return 0;
    T value = read_register<T>(core, vm::rax);
    uint8_t* lowest = registers.backwards() ? to.at - (to.count - 1) * sizeof(T) : to.at;
    for (uint64_t i = 0; i < to.count; ++i) std::memcpy(lowest + i * sizeof(T), &value, sizeof value);
    registers.advance(vm::rdi, to.count, sizeof(T));
    return to.count;
  }
};

template <typename T>
struct Load {
  static constexpr bool kCompares = false;
  static void one(Core& core, const Instruction& insn, StringRegisters& registers) {
    write_register<T>(core, vm::rax, core.memory.read<T>(address_of(core, registers, source_of(insn), sizeof(T), false)));
    registers.advance(vm::rsi, 1, sizeof(T));
  }
  static uint64_t many(Core& core, const Instruction& insn, StringRegisters& registers, uint64_t wanted) {
    Run<const uint8_t> from = readable<T>(core, registers, source_of(insn), wanted);
    if (from.at == nullptr) return 0;
    auto distance = static_cast<std::ptrdiff_t>((from.count - 1) * sizeof(T));
    write_register<T>(core, vm::rax, load<T>(registers.backwards() ? from.at - distance : from.at + distance));
    registers.advance(vm::rsi, from.count, sizeof(T));
    return from.count;
  }
};

/// Whether a repeated comparison goes on after these flags.
bool goes_on(const Instruction& insn, uint64_t flags) { return ((flags & kZf) != 0) == (insn.repeat == Repeat::rep); }

template <typename T>
struct Scan {
  static constexpr bool kCompares = true;
  static void one(Core& core, const Instruction&, StringRegisters& registers) {
    T value = core.memory.read<T>(address_of(core, registers, kDestination, sizeof(T), false));
    set_flags(core, subtract(read_register<T>(core, vm::rax), value).flags);
    registers.advance(vm::rdi, 1, sizeof(T));
  }
  static uint64_t many(Core& core, const Instruction& insn, StringRegisters& registers, uint64_t wanted) {
    Run<const uint8_t> in = readable<T>(core, registers, kDestination, wanted);
    if (in.at == nullptr) return 0;
    std::ptrdiff_t step =
        registers.backwards() ? -static_cast<std::ptrdiff_t>(sizeof(T)) : static_cast<std::ptrdiff_t>(sizeof(T));
    T key = read_register<T>(core, vm::rax), value = load<T>(in.at);
    bool while_equal = insn.repeat == Repeat::rep;
    uint64_t done = 1;
    while (done < in.count && (key == value) == while_equal) {
      in.at += step;
      value = load<T>(in.at);
      ++done;
    }
    set_flags(core, subtract(key, value).flags);
    registers.advance(vm::rdi, done, sizeof(T));
    return done;
  }
};

template <typename T>
struct Compare {
  static constexpr bool kCompares = true;
  static void one(Core& core, const Instruction& insn, StringRegisters& registers) {
    // TCG reads the second first; KVM's emulator, which reads devices for it, does not.
    if (core.features.tcg) core.memory.probe_read(address_of(core, registers, kDestination, sizeof(T), false), sizeof(T));
    T first = core.memory.read<T>(address_of(core, registers, source_of(insn), sizeof(T), false));
    T second = core.memory.read<T>(address_of(core, registers, kDestination, sizeof(T), false));
    finish(core, registers, 1, first, second);
  }
  static uint64_t many(Core& core, const Instruction& insn, StringRegisters& registers, uint64_t wanted) {
    if (core.features.tcg && readable<T>(core, registers, kDestination, wanted).at == nullptr) return 0;
    Run<const uint8_t> a = readable<T>(core, registers, source_of(insn), wanted);
    if (a.at == nullptr) return 0;
    Run<const uint8_t> b = readable<T>(core, registers, kDestination, a.count);
    if (b.at == nullptr) return 0;
    std::ptrdiff_t step =
        registers.backwards() ? -static_cast<std::ptrdiff_t>(sizeof(T)) : static_cast<std::ptrdiff_t>(sizeof(T));
    T first = load<T>(a.at), second = load<T>(b.at);
    bool while_equal = insn.repeat == Repeat::rep;
    uint64_t done = 1;
    while (done < b.count && (first == second) == while_equal) {
      first = load<T>(a.at += step);
      second = load<T>(b.at += step);
      ++done;
    }
    finish(core, registers, done, first, second);
    return done;
  }

 private:
  static void finish(Core& core, StringRegisters& registers, uint64_t count, T first, T second) {
    set_flags(core, subtract(first, second).flags);
    registers.advance(vm::rsi, count, sizeof(T));
    registers.advance(vm::rdi, count, sizeof(T));
  }
};

/// Every element is an exit of its own.
template <typename T>
struct In {
  static constexpr bool kCompares = false;
  static void one(Core& core, const Instruction&, StringRegisters& registers) {
    uint16_t port = read_register<uint16_t>(core, vm::rdx);
    check_port(core, port, sizeof(T));
    uint64_t linear = address_of(core, registers, kDestination, sizeof(T), true);
    core.memory.probe_write(linear, sizeof(T));
    core.memory.write<T>(linear, static_cast<T>(read_port(core, port, sizeof(T))));
    registers.advance(vm::rdi, 1, sizeof(T));
  }
  static uint64_t many(Core&, const Instruction&, StringRegisters&, uint64_t) { return 0; }
};
template <typename T>
struct Out {
  static constexpr bool kCompares = false;
  static void one(Core& core, const Instruction& insn, StringRegisters& registers) {
    uint16_t port = read_register<uint16_t>(core, vm::rdx);
    check_port(core, port, sizeof(T));
    T value = core.memory.read<T>(address_of(core, registers, source_of(insn), sizeof(T), false));
    write_port(core, port, sizeof(T), value);
    registers.advance(vm::rsi, 1, sizeof(T));
  }
  static uint64_t many(Core&, const Instruction&, StringRegisters&, uint64_t) { return 0; }
};

template <typename Op>
void once(Core& core, const Instruction& insn) {
  StringRegisters registers(core, insn);
  Op::one(core, insn, registers);
}

template <typename Op>
void repeated(Core& core, const Instruction& insn) {
  StringRegisters registers(core, insn);
  uint64_t count = registers.get(vm::rcx);
  if (count == 0) return;
  bool traps_each = (core.cpu.rflags & kTf) != 0;
  uint64_t allowed = traps_each ? 1 : core.iterations_allowed();
  uint64_t done = allowed > 1 ? Op::many(core, insn, registers, std::min(count, allowed)) : 0;
  if (done == 0) {
    Op::one(core, insn, registers);
    done = 1;
  }
  registers.set(vm::rcx, count - done);
  core.steps += done - 1;
  bool more = done < count;
  if constexpr (Op::kCompares) more = more && goes_on(insn, core.cpu.rflags);
  if (more) core.next_rip = core.cpu.rip;
}

template <template <typename> typename Op>
Handler string_handler(unsigned size, Repeat repeat) {
  return by_size(size, [&](auto type) -> Handler {
    using T = decltype(type);
    return repeat == Repeat::none ? once<Op<T>> : repeated<Op<T>>;
  });
}

Handler handler_for(ZydisMnemonic mnemonic, Repeat repeat) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB:
      return string_handler<Move>(1, repeat);
    case ZYDIS_MNEMONIC_MOVSW:
      return string_handler<Move>(2, repeat);
    case ZYDIS_MNEMONIC_MOVSD:
      return string_handler<Move>(4, repeat);
    case ZYDIS_MNEMONIC_MOVSQ:
      return string_handler<Move>(8, repeat);
    case ZYDIS_MNEMONIC_STOSB:
      return string_handler<Store>(1, repeat);
    case ZYDIS_MNEMONIC_STOSW:
      return string_handler<Store>(2, repeat);
    case ZYDIS_MNEMONIC_STOSD:
      return string_handler<Store>(4, repeat);
    case ZYDIS_MNEMONIC_STOSQ:
      return string_handler<Store>(8, repeat);
    case ZYDIS_MNEMONIC_LODSB:
      return string_handler<Load>(1, repeat);
    case ZYDIS_MNEMONIC_LODSW:
      return string_handler<Load>(2, repeat);
    case ZYDIS_MNEMONIC_LODSD:
      return string_handler<Load>(4, repeat);
    case ZYDIS_MNEMONIC_LODSQ:
      return string_handler<Load>(8, repeat);
    case ZYDIS_MNEMONIC_SCASB:
      return string_handler<Scan>(1, repeat);
    case ZYDIS_MNEMONIC_SCASW:
      return string_handler<Scan>(2, repeat);
    case ZYDIS_MNEMONIC_SCASD:
      return string_handler<Scan>(4, repeat);
    case ZYDIS_MNEMONIC_SCASQ:
      return string_handler<Scan>(8, repeat);
    case ZYDIS_MNEMONIC_CMPSB:
      return string_handler<Compare>(1, repeat);
    case ZYDIS_MNEMONIC_CMPSW:
      return string_handler<Compare>(2, repeat);
    case ZYDIS_MNEMONIC_CMPSD:
      return string_handler<Compare>(4, repeat);
    case ZYDIS_MNEMONIC_CMPSQ:
      return string_handler<Compare>(8, repeat);
    case ZYDIS_MNEMONIC_INSB:
      return string_handler<In>(1, repeat);
    case ZYDIS_MNEMONIC_INSW:
      return string_handler<In>(2, repeat);
    case ZYDIS_MNEMONIC_INSD:
      return string_handler<In>(4, repeat);
    case ZYDIS_MNEMONIC_OUTSB:
      return string_handler<Out>(1, repeat);
    case ZYDIS_MNEMONIC_OUTSW:
      return string_handler<Out>(2, repeat);
    case ZYDIS_MNEMONIC_OUTSD:
      return string_handler<Out>(4, repeat);
    default:
      return nullptr;
  }
}

}  // namespace

bool bind_string(const Decoded& decoded, Instruction& insn) {
  // MOVSD and CMPSD are SSE instructions, too.
  bool is_string =
      decoded.insn.meta.category == ZYDIS_CATEGORY_STRINGOP || decoded.insn.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
  Handler handler = is_string ? handler_for(decoded.insn.mnemonic, insn.repeat) : nullptr;
  if (handler == nullptr) return false;
  insn.run = handler;
  if (insn.repeat != Repeat::none) insn.ends_block = true;
  return true;
}

}  // namespace dejavm::soft
