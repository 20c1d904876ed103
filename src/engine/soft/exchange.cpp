// XCHG, XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B. There is one vCPU, so that each is atomic by itself.
#include "engine/soft/arithmetic.h"
#include "engine/soft/integer_rooms.h"
#include "engine/soft/operand_forms.h"

namespace dejavm::soft {
namespace {

template <typename T>
void exchange_registers(Core& core, const Instruction& insn) {
  T first = read_register<T>(core, insn.reg);
  write_register<T>(core, insn.reg, read_register<T>(core, insn.other));
  write_register<T>(core, insn.other, first);
}

template <typename T>
void exchange_memory(Core& core, const Instruction& insn) {
  MemoryTarget<T> target(core, insn);
  T old = target.read();
  target.write(read_register<T>(core, insn.reg));
  write_register<T>(core, insn.reg, old);
}

template <typename T, bool memory>
void exchange_and_add(Core& core, const Instruction& insn) {
  uint8_t source = memory ? insn.reg : insn.other;
  Target<T, memory> target(core, insn);
  T old = target.read();
  Outcome<T> sum = add(old, read_register<T>(core, source));
  if constexpr (memory) target.write(sum.value);
  write_register<T>(core, source, old);
  if constexpr (!memory) target.write(sum.value);  // wins when both are the same register
  set_flags(core, sum.flags);
}

/// The failing case writes the old value back to memory, too: devices see it. A register is left alone, with its upper half.
template <typename T, bool memory>
void compare_and_exchange(Core& core, const Instruction& insn) {
  uint8_t source = memory ? insn.reg : insn.other;
  Target<T, memory> target(core, insn);
  T old = target.read();
  Outcome<T> difference = subtract(read_register<T>(core, vm::rax), old);
  bool equal = (difference.flags & kZf) != 0;
  if (equal || memory) target.write(equal ? read_register<T>(core, source) : old);
  // QEMU's TCG writes the accumulator of a locked one in either case, which a 32-bit register shows.
  if (!equal || (insn.lock && core.features.tcg)) write_register<T>(core, vm::rax, old);
  set_flags(core, difference.flags);
}

template <typename Half>
void compare_and_exchange_pair(Core& core, const Instruction& insn) {
  constexpr size_t kSize = 2 * sizeof(Half);
  uint64_t linear = effective_address(core, insn, kSize, true);
  if (kSize == 16 && linear % 16 != 0) raise_gp();
  probe_modify(core, linear, kSize);
  Half old[2];
  core.memory.read_bytes(linear, old, kSize);
  bool equal = old[0] == read_register<Half>(core, vm::rax) && old[1] == read_register<Half>(core, vm::rdx);
  Half wanted[2] = {read_register<Half>(core, vm::rbx), read_register<Half>(core, vm::rcx)};
  core.memory.write_bytes(linear, equal ? wanted : old, kSize);
  if (!equal) {
    write_register<Half>(core, vm::rax, old[0]);
    write_register<Half>(core, vm::rdx, old[1]);
  }
  set_flags(core, equal ? kZf : 0, kZf);
}

}  // namespace

bool bind_exchange(const Decoded& decoded, Instruction& insn) {
  bool memory = insn.has_memory;
  switch (decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_XCHG:
      insn.run = by_size(decoded.size(0), [&](auto type) -> Handler {
        return memory ? exchange_memory<decltype(type)> : exchange_registers<decltype(type)>;
      });
      return true;
    case ZYDIS_MNEMONIC_XADD:
      insn.run = by_size(decoded.size(0), [&](auto type) -> Handler {
        return memory ? exchange_and_add<decltype(type), true> : exchange_and_add<decltype(type), false>;
      });
      return true;
    case ZYDIS_MNEMONIC_CMPXCHG:
      insn.run = by_size(decoded.size(0), [&](auto type) -> Handler {
        return memory ? compare_and_exchange<decltype(type), true> : compare_and_exchange<decltype(type), false>;
      });
      return true;
    case ZYDIS_MNEMONIC_CMPXCHG8B:
      insn.run = compare_and_exchange_pair<uint32_t>;
      return true;
    case ZYDIS_MNEMONIC_CMPXCHG16B:
      insn.run = compare_and_exchange_pair<uint64_t>;
      return true;
    default:
      return false;
  }
}

}  // namespace dejavm::soft
