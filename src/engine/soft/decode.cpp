#include "engine/soft/decode.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/check.h"
#include "engine/soft/availability.h"
#include "engine/soft/core.h"
#include "engine/soft/decode_operands.h"
#include "engine/soft/fault.h"
#include "engine/soft/model_registers.h"

namespace dejavm::soft {
namespace {

constexpr size_t kMaxLength = 15;

[[noreturn]] void raise_invalid_opcode(Core&, const Instruction&) { raise(kInvalidOpcode); }
[[noreturn]] void raise_too_long(Core&, const Instruction&) { raise_gp(); }

[[noreturn]] void refuse(Core& core, const Instruction& insn) {
  const char* name = ZydisMnemonicGetString(static_cast<ZydisMnemonic>(insn.mnemonic));
  throw EngineFailure{
      fmt::format("the soft engine does not have the instruction {} ({} bytes at {:#x}), which this guest's CPU promises",
                  name != nullptr ? name : "?", insn.length, core.cpu.cs_base() + core.cpu.rip),
      "replay with -accel kvm, or record with -cpu dejavm64-v1"};
}

/// An instruction that only raises a fault; `length` bytes decided that.
Instruction faulting(Handler handler, size_t length) {
  Instruction insn;
  insn.run = handler;
  insn.length = static_cast<uint8_t>(std::min(length, kMaxLength));
  insn.ends_block = true;
  return insn;
}

/// An instruction that the CPU model does not have.
Instruction unavailable(const ZydisDecodedInstruction& decoded) {
  bool untrapped = decoded.mnemonic == ZYDIS_MNEMONIC_RDTSCP || decoded.mnemonic == ZYDIS_MNEMONIC_RDRAND ||
                   decoded.mnemonic == ZYDIS_MNEMONIC_RDSEED;
  Instruction insn = faulting(untrapped ? refuse_untrapped : raise_invalid_opcode, decoded.length);
  if (untrapped) insn.mnemonic = static_cast<uint16_t>(decoded.mnemonic);
  return insn;
}

/// Whether the instruction after this one may be another than the one behind it, or be fetched or interrupted otherwise.
bool ends_block(const ZydisDecodedInstruction& insn, const Instruction& fields) {
  if (insn.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE || fields.repeat != Repeat::none) return true;
  switch (insn.meta.category) {
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_SYSTEM:
    case ZYDIS_CATEGORY_SEGOP:
      return true;
    default:
      break;
  }
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_STI:
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_CLAC:
    case ZYDIS_MNEMONIC_STAC:
      return true;
    default:
      return false;
  }
}

bool bind(const Decoded& decoded, NativeArena& arena, Instruction& insn) {
  constexpr Binder kRooms[] = {bind_integer,     bind_string,  bind_stack, bind_near_control,
                               bind_far_control, bind_segment, bind_system};
  for (Binder room : kRooms) {
    if (room(decoded, insn)) return true;
  }
  return bind_native(decoded, arena, insn);
}

/// Loading a segment register changes how the next instructions reach memory.
bool loads_segment(const Decoded& decoded) {
  return decoded.is_register(0) && ZydisRegisterGetClass(decoded.operands[0].reg.value) == ZYDIS_REGCLASS_SEGMENT &&
         (decoded.operands[0].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
}

/// AMD CPUs take the last of F2 and F3 in front of LOOPE and LOOPNE for their condition (measured: Zen 4).
void take_condition_of_prefix(ZydisDecodedInstruction& insn) {
  if (insn.mnemonic != ZYDIS_MNEMONIC_LOOPE && insn.mnemonic != ZYDIS_MNEMONIC_LOOPNE) return;
  for (unsigned i = 0; i < insn.raw.prefix_count; ++i) {
    if (insn.raw.prefixes[i].value == 0xf3) insn.mnemonic = ZYDIS_MNEMONIC_LOOPE;
    if (insn.raw.prefixes[i].value == 0xf2) insn.mnemonic = ZYDIS_MNEMONIC_LOOPNE;
  }
}

/// F3 90 is PAUSE, but with REX.B, which makes it XCHG R8 and takes the prefix for nothing.
bool is_exchange_of_r8(const ZydisDecodedInstruction& insn) {
  return insn.mnemonic == ZYDIS_MNEMONIC_PAUSE && insn.raw.rex.B != 0;
}

/// Decodes it once more, with a prefix that means nothing in 64-bit code in the place of F3.
void decode_exchange_of_r8(const ZydisDecoder& decoder, Decoded& decoded) {
  constexpr uint8_t kRepeat = 0xf3, kNothing = 0x3e;
  std::array<uint8_t, kMaxLength> bytes{};
  std::copy_n(decoded.bytes, decoded.insn.length, bytes.begin());
  std::replace(bytes.begin(), bytes.begin() + decoded.insn.raw.prefix_count, kRepeat, kNothing);
  CHECK(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(), &decoded.insn, decoded.operands)));
}

}  // namespace

namespace {

ZydisDecoder make_decoder(unsigned code_bits, bool lzcnt, bool tzcnt) {
  ZydisMachineMode mode = ZYDIS_MACHINE_MODE_LONG_64;
  ZydisStackWidth stack = ZYDIS_STACK_WIDTH_64;
  if (code_bits == 32) {
    mode = ZYDIS_MACHINE_MODE_LEGACY_32;
    stack = ZYDIS_STACK_WIDTH_32;
  } else if (code_bits == 16) {
    mode = ZYDIS_MACHINE_MODE_LEGACY_16;
    stack = ZYDIS_STACK_WIDTH_16;
  }
  ZydisDecoder decoder{};
  CHECK(ZYAN_SUCCESS(ZydisDecoderInit(&decoder, mode, stack)));
  struct {
    ZydisDecoderMode mode;
    bool enabled;
  } const modes[] = {
      {ZYDIS_DECODER_MODE_AMD_BRANCHES, true}, {ZYDIS_DECODER_MODE_MPX, false},   {ZYDIS_DECODER_MODE_CET, false},
      {ZYDIS_DECODER_MODE_CLDEMOTE, false},    {ZYDIS_DECODER_MODE_LZCNT, lzcnt}, {ZYDIS_DECODER_MODE_TZCNT, tzcnt},
  };
  for (const auto& entry : modes) CHECK(ZYAN_SUCCESS(ZydisDecoderEnableMode(&decoder, entry.mode, entry.enabled)));
  return decoder;
}

/// Whether it accesses memory that is not spelt, in a segment that a prefix may choose.
bool has_hidden_segment(const ZydisDecodedInstruction& insn) {
  return insn.meta.category == ZYDIS_CATEGORY_STRINGOP || insn.meta.category == ZYDIS_CATEGORY_IOSTRINGOP ||
         insn.mnemonic == ZYDIS_MNEMONIC_XLAT || insn.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ||
         insn.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU;
}

/// ZydisDecoderDecodeFull() without the operands that are not spelt and that nobody asks for.
ZyanStatus decode_with_operands(const ZydisDecoder& decoder, const uint8_t* bytes, size_t size, Decoded& decoded) {
  ZydisDecoderContext context;
  ZyanStatus status = ZydisDecoderDecodeInstruction(&decoder, &context, bytes, size, &decoded.insn);
  if (ZYAN_FAILED(status)) return status;
  uint8_t count = has_hidden_segment(decoded.insn) ? decoded.insn.operand_count : decoded.insn.operand_count_visible;
  return ZydisDecoderDecodeOperands(&decoder, &context, &decoded.insn, decoded.operands, count);
}

}  // namespace

const ZydisDecoder& decoder_for(unsigned code_bits, const Features& features) {
  auto index = [](unsigned bits, bool lzcnt, bool tzcnt) { return bits / 32 * 4 + (lzcnt ? 2u : 0u) + (tzcnt ? 1u : 0u); };
  static const auto kDecoders = [&] {
    std::array<ZydisDecoder, 12> decoders{};
    for (unsigned bits : {16u, 32u, 64u}) {
      for (bool lzcnt : {false, true}) {
        for (bool tzcnt : {false, true}) decoders[index(bits, lzcnt, tzcnt)] = make_decoder(bits, lzcnt, tzcnt);
      }
    }
    return decoders;
  }();
  return kDecoders[index(code_bits, features.lzcnt, features.tzcnt)];
}

DecodeStatus decode(const uint8_t* bytes, size_t size, unsigned code_bits, const Features& features, NativeArena& arena,
                    Instruction& insn) {
  const ZydisDecoder& decoder = decoder_for(code_bits, features);
  Decoded decoded{.bytes = bytes, .code_bits = code_bits, .features = features};
  ZyanStatus status = decode_with_operands(decoder, bytes, size, decoded);
  if (status == ZYDIS_STATUS_NO_MORE_DATA && size < kMaxLength) return DecodeStatus::needs_more;
  if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG || status == ZYDIS_STATUS_NO_MORE_DATA) {
    insn = faulting(raise_too_long, size);
    return DecodeStatus::ok;
  }
  if (ZYAN_FAILED(status)) {
    insn = faulting(raise_invalid_opcode, size);
    return DecodeStatus::ok;
  }
  if (!is_available(decoded.insn, features)) {
    insn = unavailable(decoded.insn);
    return DecodeStatus::ok;
  }
  if (is_exchange_of_r8(decoded.insn)) decode_exchange_of_r8(decoder, decoded);
  if (!features.tcg) take_condition_of_prefix(decoded.insn);
  insn = fields_of(decoded);
  insn.ends_block = ends_block(decoded.insn, insn) || loads_segment(decoded);
  if (features.tcg) insn.lazy_effect = lazy_effect(decoded.insn, decoded.operands);
  if (!bind(decoded, arena, insn)) {
    insn.run = refuse;
    insn.ends_block = true;
  }
  CHECK(insn.run != nullptr);
  return DecodeStatus::ok;
}

}  // namespace dejavm::soft
