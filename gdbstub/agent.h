// Agent expressions: the bytecode in which a debugger sends the conditions of its breakpoints (GDB manual, appendix "The GDB
// Agent Expression Mechanism", "Bytecode Descriptions").
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"

namespace dejavm::gdb {

/// Where an expression gets its values from. Nothing: there is no such register, or it is wider than 8 bytes; the memory
/// cannot be read.
struct AgentValues {
  std::function<std::optional<uint64_t>(unsigned number)> read_register;
  std::function<bool(uint64_t addr, MutableByteSpan to)> read_memory;
};

/// What bounds an expression, which may loop.
inline constexpr unsigned kMaxAgentSteps = 10'000;
inline constexpr size_t kMaxAgentStack = 256;

/// Evaluates the expression: the top of its stack at `end`. Fails, and says where, on code that makes no sense, on registers
/// and memory that cannot be read, on a division by zero, and beyond the bounds. Trace state variables, tracing, printf and
/// floating point are not part of a condition and fail, too.
Result<uint64_t> evaluate(ByteSpan code, const AgentValues& values);

}  // namespace dejavm::gdb
