// What is run once on each engine: some random instructions, and the state and memory that they find.
#pragma once

#include <vector>

#include "random_instruction.h"
#include "vm/cpu_state.h"

namespace dejavm::differential {

struct Patch {
  uint64_t gpa;
  std::vector<uint8_t> bytes;
};

struct TestCase {
  uint64_t number = 0;
  std::vector<RandomInstruction> instructions;
  uint64_t code = 0;  ///< linear address; HLT stands behind the last instruction
  vm::CpuState state;
  std::vector<Patch> patches;  ///< code and data

  bool is_alone() const { return instructions.size() == 1; }
  /// The instruction that begins there, or null.
  const RandomInstruction* at(uint64_t linear) const;
  /// A line for each instruction.
  std::string text() const;
};

class CaseSource {
 public:
  explicit CaseSource(const GuestImage& image) : image_(image), instructions_(image.mode, image.on_tcg) {}

  /// The same for the same number.
  TestCase make(uint64_t seed, uint64_t number) const;

 private:
  static constexpr size_t kMaxInstructions = 10;

  void choose_instructions(std::mt19937_64& random, TestCase& test) const;
  void scramble(std::mt19937_64& random, TestCase& test) const;
  void scramble_fpu(std::mt19937_64& random, vm::Fpu& fpu) const;
  uint64_t stack(const vm::CpuState& state) const;

  const GuestImage& image_;
  InstructionSource instructions_;
};

}  // namespace dejavm::differential
