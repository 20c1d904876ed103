// The host CPU as the judge of x87, MMX and SSE instructions: runs the guest's own bytes with the guest's own registers.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "vm/cpu_state.h"

namespace dejavm::soft {

/// What goes into an instruction and comes out of it. RSI points to `memory`; RAX is its general register.
struct VectorState {
  vm::Fpu fpu;
  uint64_t rax = 0;
  uint64_t flags = 2;
  std::array<uint8_t, 16> memory{};
};

/// Executable memory. One at a time: it owns the process's SIGFPE, SIGILL and SIGSEGV handlers.
class VectorOracle {
 public:
  VectorOracle();
  ~VectorOracle();
  VectorOracle(const VectorOracle&) = delete;
  VectorOracle& operator=(const VectorOracle&) = delete;

  enum class Outcome { completed, simd_fault, other_fault };
  /// Runs 64-bit code. After a SIMD fault only `fpu` of `state` may have changed.
  Outcome run(const std::vector<uint8_t>& instruction, VectorState& state);

 private:
  uint8_t* code_;
};

}  // namespace dejavm::soft
