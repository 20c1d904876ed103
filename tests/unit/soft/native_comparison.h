// Runs an instruction with the same operands in the soft engine and on the host, many times, and compares what comes out.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "native_oracle.h"
#include "soft_fixture.h"

namespace dejavm::soft {

/// The instruction's memory: RSI points to kOperand in it, RDI to kSecondOperand.
struct NativeInput {
  static constexpr uint64_t kOperand = 128, kSecondOperand = 256;
  NativeRegisters registers;
  alignas(64) std::array<uint8_t, 512> memory{};
};

class NativeComparison {
 public:
  /// A CPU model with more than the default's features, so that all that the room has can be compared.
  static vm::CpuModel rich_model();

  explicit NativeComparison(unsigned bits = 64);

  using Prepare = std::function<void(NativeInput&, std::mt19937_64&)>;
  /// Fails the test at the first difference of RAX, RCX, RDX, RBX, RSI, RDI, memory, the status flags, or faulting or not.
  /// `prepare` changes the random input. Repeated string instructions are stepped to their end.
  void compare(const std::string& name, const std::vector<uint8_t>& instruction, const Prepare& prepare = {});

 private:
  struct Result {
    bool faulted;
    NativeInput after;  ///< RSI and RDI relative to the memory
  };
  NativeInput random_input();
  uint64_t random_value();
  Result run_soft(const NativeInput& input, size_t length);
  Result run_native(const NativeInput& input);

  unsigned bits_;
  std::mt19937_64 random_{20240917};
  SoftGuest guest_{rich_model()};
  NativeOracle oracle_;
  NativeInput native_;  ///< where the native instruction's operands stand
};

}  // namespace dejavm::soft
