#include "random_instruction.h"

#include <fmt/format.h>

#include "base/check.h"
#include "comparable.h"
#include "tcg_instructions.h"

namespace dejavm::differential {

std::string RandomInstruction::text(uint64_t address) const {
  char text[128] = {};
  ZydisFormatter formatter;
  ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
  ZydisFormatterFormatInstruction(&formatter, &insn, operands, insn.operand_count_visible, text, sizeof text, address,
                                  nullptr);
  return text;
}

std::string RandomInstruction::hex() const {
  std::string text;
  for (size_t i = 0; i < length(); ++i) text += fmt::format("{:02x}", bytes[i]);
  return text;
}

bool RandomInstruction::has_prefix(uint8_t prefix) const {
  for (unsigned i = 0; i < insn.raw.prefix_count; ++i) {
    if (insn.raw.prefixes[i].value == prefix) return true;
  }
  return false;
}

bool RandomInstruction::has_register(ZydisRegisterClass of_class) const {
  for (unsigned i = 0; i < insn.operand_count; ++i) {
    if (operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(operands[i].reg.value) == of_class)
      return true;
  }
  return false;
}

bool RandomInstruction::accesses_memory() const {
  for (unsigned i = 0; i < insn.operand_count_visible; ++i) {
    if (operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY) return true;
  }
  return false;
}

std::optional<RandomInstruction::Field> RandomInstruction::distance() const {
  const auto& field = insn.raw.imm[0];
  if (!field.is_relative) return std::nullopt;
  return Field{field.offset, size_t{field.size} / 8};
}

InstructionSource::InstructionSource(Mode mode, bool on_tcg) : mode_(mode), on_tcg_(on_tcg), decoder_{} {
  ZydisMachineMode machine = ZYDIS_MACHINE_MODE_LONG_64;
  ZydisStackWidth stack = ZYDIS_STACK_WIDTH_64;
  if (code_bits(mode) == 16) {
    machine = ZYDIS_MACHINE_MODE_REAL_16;
    stack = ZYDIS_STACK_WIDTH_16;
  } else if (code_bits(mode) == 32) {
    machine = ZYDIS_MACHINE_MODE_LEGACY_32;
    stack = ZYDIS_STACK_WIDTH_32;
  }
  CHECK(ZYAN_SUCCESS(ZydisDecoderInit(&decoder_, machine, stack)));
  CHECK(ZYAN_SUCCESS(ZydisDecoderEnableMode(&decoder_, ZYDIS_DECODER_MODE_AMD_BRANCHES, true)));
}

bool InstructionSource::decode(RandomInstruction& random) const {
  return ZYAN_SUCCESS(
      ZydisDecoderDecodeFull(&decoder_, random.bytes.data(), random.bytes.size(), &random.insn, random.operands));
}

RandomInstruction InstructionSource::instruction(std::mt19937_64& random) const {
  RandomInstruction made;
  for (;;) {
    for (size_t i = 0; i < made.bytes.size(); i += 5) {
      uint64_t value = random();
      for (size_t j = 0; j < 5; ++j) made.bytes[i + j] = static_cast<uint8_t>(value >> 8 * j);
    }
    auto one_in = [&](uint64_t n) { return random() % n == 0; };
    size_t at = 0;
    if (one_in(4)) made.bytes[at++] = 0x66;
    if (one_in(8)) made.bytes[at++] = 0x67;
    if (one_in(6)) made.bytes[at++] = one_in(2) ? 0xf2 : 0xf3;
    if (one_in(32)) made.bytes[at++] = 0xf0;
    if (one_in(16)) {
      static constexpr uint8_t kOverrides[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
      made.bytes[at++] = kOverrides[random() % 6];
    }
    if (code_bits(mode_) == 64 && one_in(2)) made.bytes[at++] = static_cast<uint8_t>(0x40 | random() % 16);
    if (one_in(3)) {
      made.bytes[at++] = 0x0f;
      if (one_in(8)) made.bytes[at++] = one_in(2) ? 0x38 : 0x3a;  // SSSE3 to SSE4.2, which chance would hardly make
    }
    if (!decode(made) || !comparable(made, mode_) || (on_tcg_ && tcg_misreads(made))) continue;
    if (mode_ != Mode::user64 && !on_tcg_ && is_vector_or_x87(made.insn) && !one_in(16)) continue;
    return made;
  }
}

}  // namespace dejavm::differential
