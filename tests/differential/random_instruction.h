// One random instruction, as bytes that decode.
#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <cstdint>
#include <optional>
#include <random>
#include <string>

#include "guest_image.h"

namespace dejavm::differential {

struct RandomInstruction {
  std::array<uint8_t, ZYDIS_MAX_INSTRUCTION_LENGTH> bytes{};
  ZydisDecodedInstruction insn{};
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT]{};

  size_t length() const { return insn.length; }
  std::string text(uint64_t address) const;
  std::string hex() const;
  bool has_prefix(uint8_t prefix) const;
  bool has_register(ZydisRegisterClass of_class) const;
  /// As an operand that is spelt.
  bool accesses_memory() const;
  /// Where a near branch keeps its distance; nullopt: it is not one, or has none.
  struct Field {
    size_t offset, size;
  };
  std::optional<Field> distance() const;
};

class InstructionSource {
 public:
  /// `on_tcg`: leaves out what QEMU's TCG takes for another instruction.
  InstructionSource(Mode mode, bool on_tcg);

  /// A valid instruction of the mode that can be compared (see comparable() in the source).
  RandomInstruction instruction(std::mt19937_64& random) const;

 private:
  bool decode(RandomInstruction& random) const;

  Mode mode_;
  bool on_tcg_;
  ZydisDecoder decoder_;
};

}  // namespace dejavm::differential
