#include "vm/loop_exit.h"

#include <Zydis/Zydis.h>

#include "vm/translate.h"

namespace dejavm::vm {

std::optional<GuestVirt> find_loop_exit(const CpuState& cpu, const GuestMemory& memory, GuestVirt address) {
  constexpr int kMaxInstructions = 256;
  if (cpu.code_bits() != 64) return std::nullopt;
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  uint64_t rip = address.value;
  for (int count = 0; count < kMaxInstructions; ++count) {
    uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
    size_t got = read_virtual(cpu, memory, {rip}, bytes);
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, got, &instruction, operands))) return std::nullopt;
    if (instruction.mnemonic == ZYDIS_MNEMONIC_INT3) return std::nullopt;  // what fills the room between functions
    uint64_t next = rip + instruction.length;
    if (instruction.meta.category == ZYDIS_CATEGORY_COND_BR) {
      uint64_t target = next + static_cast<uint64_t>(operands[0].imm.value.s);
      if (target <= address.value) return GuestVirt{next};
    }
    rip = next;
  }
  return std::nullopt;
}

std::optional<GuestVirt> leads_to(const CpuState& cpu, const GuestMemory& memory, WayOut way,
                                  std::optional<GuestVirt> caller) {
  std::optional<GuestVirt> from = way.level == 0 ? GuestVirt{cpu.linear_rip()} : caller;
  return way.of_loop && from ? find_loop_exit(cpu, memory, *from) : from;
}

}  // namespace dejavm::vm
