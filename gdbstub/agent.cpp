#include "gdbstub/agent.h"

#include <array>
#include <limits>

namespace dejavm::gdb {

namespace {

enum Op : uint8_t {
  op_add = 0x02,
  op_sub = 0x03,
  op_mul = 0x04,
  op_div_signed = 0x05,
  op_div_unsigned = 0x06,
  op_rem_signed = 0x07,
  op_rem_unsigned = 0x08,
  op_lsh = 0x09,
  op_rsh_signed = 0x0a,
  op_rsh_unsigned = 0x0b,
  op_log_not = 0x0e,
  op_bit_and = 0x0f,
  op_bit_or = 0x10,
  op_bit_xor = 0x11,
  op_bit_not = 0x12,
  op_equal = 0x13,
  op_less_signed = 0x14,
  op_less_unsigned = 0x15,
  op_ext = 0x16,
  op_ref8 = 0x17,
  op_ref16 = 0x18,
  op_ref32 = 0x19,
  op_ref64 = 0x1a,
  op_if_goto = 0x20,
  op_goto = 0x21,
  op_const8 = 0x22,
  op_const16 = 0x23,
  op_const32 = 0x24,
  op_const64 = 0x25,
  op_reg = 0x26,
  op_end = 0x27,
  op_dup = 0x28,
  op_pop = 0x29,
  op_zero_ext = 0x2a,
  op_swap = 0x2b,
  op_pick = 0x32,
  op_rot = 0x33,
};

bool is_binary(uint8_t op) {
  return (op >= op_add && op <= op_rsh_unsigned) || (op >= op_bit_and && op <= op_bit_xor) ||
         (op >= op_equal && op <= op_less_unsigned);
}

/// The values of `bits` bits: 64 and more leave a value as it is.
uint64_t zero_extend(uint64_t value, unsigned bits) { return bits >= 64 ? value : value & ((uint64_t{1} << bits) - 1); }

uint64_t sign_extend(uint64_t value, unsigned bits) {
  if (bits == 0 || bits >= 64) return value;
  const unsigned unused = 64 - bits;
  return static_cast<uint64_t>(static_cast<int64_t>(value << unused) >> unused);
}

/// Shifts by 64 and more have shifted everything out.
uint64_t shift(uint8_t op, uint64_t value, uint64_t count) {
  const bool all = count >= 64;
  if (op == op_lsh) return all ? 0 : value << count;
  if (op == op_rsh_unsigned) return all ? 0 : value >> count;
  return static_cast<uint64_t>(static_cast<int64_t>(value) >> (all ? 63 : count));
}

/// Nothing: a division by zero, or the one quotient that does not fit.
std::optional<uint64_t> divide(uint8_t op, uint64_t a, uint64_t b) {
  if (b == 0) return std::nullopt;
  if (op == op_div_unsigned) return a / b;
  if (op == op_rem_unsigned) return a % b;
  const auto dividend = static_cast<int64_t>(a);
  const auto divisor = static_cast<int64_t>(b);
  if (dividend == std::numeric_limits<int64_t>::min() && divisor == -1) return std::nullopt;
  return static_cast<uint64_t>(op == op_div_signed ? dividend / divisor : dividend % divisor);
}

std::optional<uint64_t> combine(uint8_t op, uint64_t a, uint64_t b) {
  switch (op) {
    case op_add:
      return a + b;
    case op_sub:
      return a - b;
    case op_mul:
      return a * b;
    case op_lsh:
    case op_rsh_signed:
    case op_rsh_unsigned:
      return shift(op, a, b);
    case op_bit_and:
      return a & b;
    case op_bit_or:
      return a | b;
    case op_bit_xor:
      return a ^ b;
    case op_equal:
      return a == b ? 1 : 0;
    case op_less_signed:
      return static_cast<int64_t>(a) < static_cast<int64_t>(b) ? 1 : 0;
    case op_less_unsigned:
      return a < b ? 1 : 0;
    default:
      return divide(op, a, b);
  }
}

/// One evaluation. Invariant: next_ is at most the size of the code, depth_ at most that of the stack.
class Evaluation {
 public:
  Evaluation(ByteSpan code, const AgentValues& values) : code_(code), values_(values) {}

  Result<uint64_t> run() {
    for (unsigned steps = 0; steps < kMaxAgentSteps; ++steps) {
      at_ = next_;
      const auto op = take(1);
      if (!op) return wrong("the expression has no end");
      if (*op == op_end) {
        if (depth_ == 0) return wrong("nothing is on the stack");
        return stack_[depth_ - 1];
      }
      TRY(execute(static_cast<uint8_t>(*op)));
    }
    return wrong(fmt::format("it ran for {} steps", kMaxAgentSteps));
  }

 private:
  tl::unexpected<Error> wrong(std::string_view what) const {
    return fail(fmt::format("a condition in agent bytecode, at byte {}: {}", at_, what));
  }

  Status execute(uint8_t op) {
    if (is_binary(op)) return binary(op);
    switch (op) {
      case op_log_not:
      case op_bit_not:
        return unary(op);
      case op_ext:
      case op_zero_ext:
        return extend(op);
      case op_ref8:
      case op_ref16:
      case op_ref32:
      case op_ref64:
        return reference(1u << (op - op_ref8));
      case op_if_goto:
      case op_goto:
        return branch(op);
      case op_const8:
      case op_const16:
      case op_const32:
      case op_const64:
        return constant(1u << (op - op_const8));
      case op_reg:
        return push_register();
      default:
        return arrange(op);
    }
  }

  Status binary(uint8_t op) {
    TRY(needs(2));
    const auto result = combine(op, stack_[depth_ - 2], stack_[depth_ - 1]);
    if (!result) return wrong("a division by zero");
    stack_[--depth_ - 1] = *result;
    return {};
  }

  Status unary(uint8_t op) {
    TRY(needs(1));
    uint64_t& top = stack_[depth_ - 1];
    top = op == op_bit_not ? ~top : static_cast<uint64_t>(top == 0);
    return {};
  }

  Status extend(uint8_t op) {
    const auto bits = take(1);
    if (!bits) return wrong("the expression is cut off");
    TRY(needs(1));
    uint64_t& top = stack_[depth_ - 1];
    top = op == op_ext ? sign_extend(top, static_cast<unsigned>(*bits)) : zero_extend(top, static_cast<unsigned>(*bits));
    return {};
  }

  Status reference(unsigned size) {
    TRY(needs(1));
    std::array<uint8_t, 8> bytes{};
    uint64_t& top = stack_[depth_ - 1];
    if (!values_.read_memory(top, MutableByteSpan(bytes).first(size))) {
      return wrong(fmt::format("cannot read {} bytes at {:#x}", size, top));
    }
    top = load_le<uint64_t>(bytes.data());
    return {};
  }

  Status branch(uint8_t op) {
    const auto target = take(2);
    if (!target) return wrong("the expression is cut off");
    if (*target >= code_.size()) return wrong(fmt::format("byte {} is not in the expression", *target));
    bool taken = true;
    if (op == op_if_goto) {
      TRY(needs(1));
      taken = stack_[--depth_] != 0;
    }
    if (taken) next_ = static_cast<size_t>(*target);
    return {};
  }

  Status constant(unsigned size) {
    const auto value = take(size);
    return value ? push(*value) : wrong("the expression is cut off");
  }

  Status push_register() {
    const auto number = take(2);
    if (!number) return wrong("the expression is cut off");
    const auto value = values_.read_register(static_cast<unsigned>(*number));
    return value ? push(*value) : wrong(fmt::format("cannot read register {}", *number));
  }

  /// What moves values on the stack.
  Status arrange(uint8_t op) {
    switch (op) {
      case op_dup:
        return pick(0);
      case op_pick: {
        const auto depth = take(1);
        return depth ? pick(static_cast<size_t>(*depth)) : wrong("the expression is cut off");
      }
      case op_pop:
        TRY(needs(1));
        --depth_;
        return {};
      case op_swap:
        TRY(needs(2));
        std::swap(stack_[depth_ - 1], stack_[depth_ - 2]);
        return {};
      case op_rot:  // a b c -> c a b
        TRY(needs(3));
        std::swap(stack_[depth_ - 1], stack_[depth_ - 2]);
        std::swap(stack_[depth_ - 2], stack_[depth_ - 3]);
        return {};
      default:
        return wrong(fmt::format("operation {:#x} is not supported", op));
    }
  }

  Status pick(size_t depth) {
    TRY(needs(depth + 1));
    return push(stack_[depth_ - 1 - depth]);
  }

  Status push(uint64_t value) {
    if (depth_ == stack_.size()) return wrong(fmt::format("more than {} values on the stack", stack_.size()));
    stack_[depth_++] = value;
    return {};
  }

  Status needs(size_t count) const {
    if (depth_ < count) return wrong(fmt::format("{} values are missing on the stack", count - depth_));
    return {};
  }

  /// An operand, whose bytes are big-endian; nothing at the end of the code.
  std::optional<uint64_t> take(unsigned size) {
    if (code_.size() - next_ < size) return std::nullopt;
    uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) value = (value << 8) | code_[next_++];
    return value;
  }

  const ByteSpan code_;
  const AgentValues& values_;
  size_t at_ = 0, next_ = 0;
  std::array<uint64_t, kMaxAgentStack> stack_{};
  size_t depth_ = 0;
};

}  // namespace

Result<uint64_t> evaluate(ByteSpan code, const AgentValues& values) { return Evaluation(code, values).run(); }

}  // namespace dejavm::gdb
