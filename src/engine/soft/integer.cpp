// ADD to NOT: arithmetic and logic of one or two operands (AMD64 APM volume 3).
#include "engine/soft/arithmetic.h"
#include "engine/soft/integer_rooms.h"
#include "engine/soft/operand_forms.h"

namespace dejavm::soft {
namespace {

struct Add {
  template <typename T>
  static Outcome<T> apply(T a, T b, uint64_t) {
    return add(a, b);
  }
};
struct AddWithCarry {
  template <typename T>
  static Outcome<T> apply(T a, T b, uint64_t flags) {
    return add(a, b, (flags & kCf) != 0);
  }
};
struct Subtract {
  template <typename T>
  static Outcome<T> apply(T a, T b, uint64_t) {
    return subtract(a, b);
  }
};
struct SubtractWithBorrow {
  template <typename T>
  static Outcome<T> apply(T a, T b, uint64_t flags) {
    return subtract(a, b, (flags & kCf) != 0);
  }
};
struct And {
  template <typename T>
  static Outcome<T> apply(T a, T b, uint64_t) {
    T result = a & b;
    return {result, result_flags(result)};
  }
};
struct Or {
  template <typename T>
  static Outcome<T> apply(T a, T b, uint64_t) {
    T result = a | b;
    return {result, result_flags(result)};
  }
};
struct Xor {
  template <typename T>
  static Outcome<T> apply(T a, T b, uint64_t) {
    T result = a ^ b;
    return {result, result_flags(result)};
  }
};

// INC and DEC keep CF, NOT keeps all flags.
struct Increment {
  template <typename T>
  static Outcome<T> apply(T a, uint64_t flags) {
    Outcome<T> result = add(a, T{1});
    return {result.value, (result.flags & ~kCf) | (flags & kCf)};
  }
};
struct Decrement {
  template <typename T>
  static Outcome<T> apply(T a, uint64_t flags) {
    Outcome<T> result = subtract(a, T{1});
    return {result.value, (result.flags & ~kCf) | (flags & kCf)};
  }
};
struct Negate {
  template <typename T>
  static Outcome<T> apply(T a, uint64_t) {
    return subtract(T{0}, a);
  }
};
struct Not {
  template <typename T>
  static Outcome<T> apply(T a, uint64_t flags) {
    return {static_cast<T>(~a), flags};
  }
};

template <typename Op, typename T, Form form>
void modify(Core& core, const Instruction& insn) {
  T b = read_source<T, form>(core, insn);
  Target<T, writes_memory(form)> target(core, insn);
  Outcome<T> result = Op::template apply<T>(target.read(), b, core.cpu.rflags);
  target.write(result.value);
  set_flags(core, result.flags);
}

template <typename Op, typename T, Form form>
void compare(Core& core, const Instruction& insn) {
  T a = read_first<T, writes_memory(form)>(core, insn);
  T b = read_source<T, form>(core, insn);
  set_flags(core, Op::template apply<T>(a, b, core.cpu.rflags).flags);
}

template <typename Op, typename T, bool memory>
void modify_alone(Core& core, const Instruction& insn) {
  Target<T, memory> target(core, insn);
  Outcome<T> result = Op::template apply<T>(target.read(), core.cpu.rflags);
  target.write(result.value);
  set_flags(core, result.flags);
}

template <typename Op, typename T>
Handler modifying(Form form) {
  switch (form) {
    case Form::reg_reg:
      return modify<Op, T, Form::reg_reg>;
    case Form::reg_mem:
      return modify<Op, T, Form::reg_mem>;
    case Form::mem_reg:
      return modify<Op, T, Form::mem_reg>;
    case Form::reg_imm:
      return modify<Op, T, Form::reg_imm>;
    default:
      return modify<Op, T, Form::mem_imm>;
  }
}

template <typename Op, typename T>
Handler comparing(Form form) {
  switch (form) {
    case Form::reg_reg:
      return compare<Op, T, Form::reg_reg>;
    case Form::reg_mem:
      return compare<Op, T, Form::reg_mem>;
    case Form::mem_reg:
      return compare<Op, T, Form::mem_reg>;
    case Form::reg_imm:
      return compare<Op, T, Form::reg_imm>;
    default:
      return compare<Op, T, Form::mem_imm>;
  }
}

template <typename Op>
Handler modifier(const Decoded& decoded) {
  return by_size(decoded.size(0), [&](auto type) { return modifying<Op, decltype(type)>(form_of(decoded)); });
}
template <typename Op>
Handler comparer(const Decoded& decoded) {
  return by_size(decoded.size(0), [&](auto type) { return comparing<Op, decltype(type)>(form_of(decoded)); });
}
template <typename Op>
Handler single(const Decoded& decoded) {
  return by_size(decoded.size(0), [&](auto type) -> Handler {
    using T = decltype(type);
    return decoded.is_memory(0) ? modify_alone<Op, T, true> : modify_alone<Op, T, false>;
  });
}

Handler arithmetic(const Decoded& decoded) {
  switch (decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
      return modifier<Add>(decoded);
    case ZYDIS_MNEMONIC_ADC:
      return modifier<AddWithCarry>(decoded);
    case ZYDIS_MNEMONIC_SUB:
      return modifier<Subtract>(decoded);
    case ZYDIS_MNEMONIC_SBB:
      return modifier<SubtractWithBorrow>(decoded);
    case ZYDIS_MNEMONIC_AND:
      return modifier<And>(decoded);
    case ZYDIS_MNEMONIC_OR:
      return modifier<Or>(decoded);
    case ZYDIS_MNEMONIC_XOR:
      return modifier<Xor>(decoded);
    case ZYDIS_MNEMONIC_CMP:
      return comparer<Subtract>(decoded);
    case ZYDIS_MNEMONIC_TEST:
      return comparer<And>(decoded);
    case ZYDIS_MNEMONIC_INC:
      return single<Increment>(decoded);
    case ZYDIS_MNEMONIC_DEC:
      return single<Decrement>(decoded);
    case ZYDIS_MNEMONIC_NEG:
      return single<Negate>(decoded);
    case ZYDIS_MNEMONIC_NOT:
      return single<Not>(decoded);
    default:
      return nullptr;
  }
}

}  // namespace

bool bind_integer(const Decoded& decoded, Instruction& insn) {
  if (Handler handler = arithmetic(decoded)) {
    insn.run = handler;
    return true;
  }
  constexpr Binder kParts[] = {bind_move, bind_exchange, bind_shift, bind_double_shift, bind_multiply_divide,
                               bind_bit,  bind_decimal,  bind_plain};
  for (Binder part : kParts) {
    if (part(decoded, insn)) return true;
  }
  return false;
}

}  // namespace dejavm::soft
