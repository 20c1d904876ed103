// Random programs for comparing translated with interpreted code.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace dejavm::soft {

/// Where a program stands, and what its registers point to when it begins and after each exception.
inline constexpr uint64_t kProgram = 0x40000, kProgramData = 0x60000, kProgramStack = 0x80000;

/// Random instructions of integer code and SSE, with memory accesses (some of them to devices, to unmapped pages, to the
/// code itself), branches among each other, calls, string instructions.
class RandomProgram {
 public:
  /// bits: 64 or 32.
  RandomProgram(uint32_t seed, unsigned bits, unsigned instructions);

  const std::vector<uint8_t>& bytes() const { return bytes_; }
  /// For the exception handler: sets the registers and jumps to the program's start.
  std::vector<uint8_t> handler() const;

 private:
  struct Branch {
    size_t place;  // of the 32-bit distance
  };

  unsigned pick(unsigned count) { return static_cast<unsigned>(random_() % count); }
  void byte(unsigned value) { bytes_.push_back(static_cast<uint8_t>(value)); }
  void word(uint32_t value);
  void immediate(unsigned size);
  unsigned reg();
  void prefixes(bool byte_operands);
  void modrm(unsigned reg_field, bool memory_only = false);
  void memory_operand(unsigned reg_field);
  void integer();
  void group();
  void extended();
  void vector();
  void stack();
  void branch();
  void single();
  void repeated_string();
  void patch_code();
  void instruction();

  std::mt19937 random_;
  unsigned bits_;
  unsigned operand_size_ = 4;
  std::vector<uint8_t> bytes_;
  std::vector<size_t> starts_;
  std::vector<Branch> branches_;
  std::vector<size_t> immediates_;  // bytes that patch_code() may write
};

}  // namespace dejavm::soft
