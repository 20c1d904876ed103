#include "tcg_differences.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "engine/soft/native_ops.h"
#include "instruction_kinds.h"

namespace dejavm::differential {
namespace {

bool is_rex(uint8_t byte) { return (byte & 0xf0) == 0x40; }

/// translate.c, disas_insn(): the bits of a REX stay also where another prefix follows it.
bool has_early_rex(const ZydisDecodedInstruction& insn) {
  if (insn.machine_mode != ZYDIS_MACHINE_MODE_LONG_64) return false;
  for (unsigned i = 0; i + 1 < insn.raw.prefix_count; ++i) {
    if (is_rex(insn.raw.prefixes[i].value)) return true;
  }
  return false;
}

/// decode-new.c.inc, decode_op(): the bits of a REX go into the numbers of MMX registers.
bool has_mmx_register_beyond_seven(const RandomInstruction& random) {
  const auto& rex = random.insn.raw.rex;
  for (unsigned i = 0; i < random.insn.operand_count; ++i) {
    const ZydisDecodedOperand& operand = random.operands[i];
    bool mmx = operand.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_MMX;
    if (mmx && operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG && rex.R != 0) return true;
    if (mmx && operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM && rex.B != 0) return true;
  }
  return false;
}

/// translate.c, disas_insn(): #UD for the second spelling of TEST (F6 and F7 with 1 in ModRM.reg), after its operand is
/// read, and for a prefetch of a register (0F 0D).
bool has_undefined_spelling(const ZydisDecodedInstruction& insn) {
  bool test = insn.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (insn.opcode & 0xfe) == 0xf6 && insn.raw.modrm.reg == 1;
  bool prefetch = insn.opcode_map == ZYDIS_OPCODE_MAP_0F && insn.opcode == 0x0d && insn.raw.modrm.mod == 3;
  return test || prefetch;
}

/// KVM cannot hide from a guest what the CPU has, and the CPU model has no 3DNow!.
bool is_3dnow(const ZydisDecodedInstruction& insn) {
  return insn.opcode_map == ZYDIS_OPCODE_MAP_0F0F || insn.mnemonic == ZYDIS_MNEMONIC_FEMMS;
}

/// The lab's KVM goes on for ever with a guest whose next instruction then faults on its way to a device.
bool loads_stack_segment(const RandomInstruction& random) {
  const ZydisDecodedOperand& target = random.operands[0];
  bool loads = target.type == ZYDIS_OPERAND_TYPE_REGISTER && target.reg.value == ZYDIS_REGISTER_SS;
  return random.insn.mnemonic == ZYDIS_MNEMONIC_LSS || (loads && random.insn.mnemonic != ZYDIS_MNEMONIC_PUSH);
}

}  // namespace

bool tcg_misreads(const RandomInstruction& random) {
  const ZydisDecodedInstruction& insn = random.insn;
  return has_early_rex(insn) || has_mmx_register_beyond_seven(random) || has_undefined_spelling(insn) || is_3dnow(insn) ||
         loads_stack_segment(random);
}

namespace {

struct Ends {
  const TestCase& test;
  Mode mode;
  const Outcome& kvm;
  const Outcome& soft;

  bool same_accesses() const { return kvm.accesses == soft.accesses; }
  bool same_fault() const {
    return kvm.fault && soft.fault && kvm.fault->vector == soft.fault->vector && kvm.fault->address == soft.fault->address;
  }
  /// The instruction that did not get to its end, on KVM.
  const RandomInstruction* last() const { return kvm.fault ? test.at(kvm.fault->address) : test.at(kvm.state.linear_rip()); }
  /// The one that faulted on soft.
  const RandomInstruction* soft_last() const { return soft.fault ? test.at(soft.fault->address) : nullptr; }
};

bool is_x87(const RandomInstruction* random) {
  return random != nullptr && random->insn.meta.category == ZYDIS_CATEGORY_X87_ALU;
}

bool is_nested_enter(const RandomInstruction& random) {
  return random.insn.mnemonic == ZYDIS_MNEMONIC_ENTER && (random.operands[1].imm.value.u & 31) > 1;
}

bool needs_flags(const RandomInstruction& random) {
  switch (random.insn.mnemonic) {
    case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_SBB:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
      return true;
    default:
      return random.insn.meta.category == ZYDIS_CATEGORY_SETCC || random.insn.meta.category == ZYDIS_CATEGORY_CMOV;
  }
}

bool loads_mxcsr(const RandomInstruction& random) {
  return random.insn.mnemonic == ZYDIS_MNEMONIC_LDMXCSR || random.insn.mnemonic == ZYDIS_MNEMONIC_FXRSTOR ||
         random.insn.mnemonic == ZYDIS_MNEMONIC_FXRSTOR64;
}

bool is_wide_exchange(const RandomInstruction& random) { return random.insn.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B; }

bool is_minimum_or_maximum(const RandomInstruction& random) {
  switch (random.insn.mnemonic) {
    case ZYDIS_MNEMONIC_MINPS:
    case ZYDIS_MNEMONIC_MINSS:
    case ZYDIS_MNEMONIC_MINPD:
    case ZYDIS_MNEMONIC_MINSD:
    case ZYDIS_MNEMONIC_MAXPS:
    case ZYDIS_MNEMONIC_MAXSS:
    case ZYDIS_MNEMONIC_MAXPD:
    case ZYDIS_MNEMONIC_MAXSD:
      return true;
    default:
      return false;
  }
}

bool is_prefixed_branch(const RandomInstruction& random) {
  return random.insn.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE && random.has_prefix(0x66);
}

bool is_crc_of_16_bits(const RandomInstruction& random) {
  return random.insn.mnemonic == ZYDIS_MNEMONIC_CRC32 && random.has_prefix(0x66);
}

bool pushes_segment(const RandomInstruction& random) {
  return random.insn.mnemonic == ZYDIS_MNEMONIC_PUSH && random.has_register(ZYDIS_REGCLASS_SEGMENT);
}

bool is_partial_remainder(const RandomInstruction& random) {
  return random.insn.mnemonic == ZYDIS_MNEMONIC_FPREM || random.insn.mnemonic == ZYDIS_MNEMONIC_FPREM1;
}

bool only_conditions_of_x87_differ(const Ends& ends) {
  constexpr uint16_t kConditions = 0x4700;
  vm::CpuState soft = ends.soft.state;
  soft.fpu.fsw = static_cast<uint16_t>((soft.fpu.fsw & ~kConditions) | (ends.kvm.state.fpu.fsw & kConditions));
  return soft == ends.kvm.state;
}

bool tests_bit(const RandomInstruction& random) { return random.insn.meta.category == ZYDIS_CATEGORY_BITBYTE; }

/// Which of two NaNs an instruction gives is the only difference.
bool only_nans_differ(const Ends& ends) {
  constexpr uint32_t kInfinity = 0x7f800000, kInfinityOfDouble = 0x7ff00000, kMagnitude = 0x7fffffff;
  vm::CpuState soft = ends.soft.state;
  for (size_t i = 0; i < soft.fpu.xmm.size(); ++i) {
    uint32_t kvm_lanes[4], soft_lanes[4];
    std::memcpy(kvm_lanes, ends.kvm.state.fpu.xmm[i].data(), sizeof kvm_lanes);
    std::memcpy(soft_lanes, soft.fpu.xmm[i].data(), sizeof soft_lanes);
    for (size_t lane = 0; lane < 4; ++lane) {
      bool single = (kvm_lanes[lane] & kMagnitude) > kInfinity && (soft_lanes[lane] & kMagnitude) > kInfinity;
      bool is_double = (kvm_lanes[lane | 1] & kInfinityOfDouble) == kInfinityOfDouble &&
                       (soft_lanes[lane | 1] & kInfinityOfDouble) == kInfinityOfDouble;
      if (single || is_double) soft_lanes[lane] = kvm_lanes[lane];
    }
    std::memcpy(soft.fpu.xmm[i].data(), soft_lanes, sizeof soft_lanes);
  }
  return soft == ends.kvm.state;
}

/// At the last byte of a segment.
bool is_string_at_limit(const RandomInstruction& random, const vm::CpuState& state) {
  bool at_end = (state.gpr[vm::rsi] & 0xffff) == 0xffff || (state.gpr[vm::rdi] & 0xffff) == 0xffff;
  return random.insn.meta.category == ZYDIS_CATEGORY_STRINGOP && at_end;
}

bool converts_mmx(const RandomInstruction& random) {
  switch (random.insn.mnemonic) {
    case ZYDIS_MNEMONIC_CVTPI2PS:
    case ZYDIS_MNEMONIC_CVTPI2PD:
    case ZYDIS_MNEMONIC_CVTPS2PI:
    case ZYDIS_MNEMONIC_CVTPD2PI:
    case ZYDIS_MNEMONIC_CVTTPS2PI:
    case ZYDIS_MNEMONIC_CVTTPD2PI:
    case ZYDIS_MNEMONIC_MOVQ2DQ:
    case ZYDIS_MNEMONIC_MOVDQ2Q:
      return true;
    default:
      return false;
  }
}

bool returns_far_up(const RandomInstruction& random) {
  return random.insn.mnemonic == ZYDIS_MNEMONIC_RET && (random.operands[0].imm.value.u & 0x8000) != 0;
}

bool is_relative_double_shift(const RandomInstruction& random) {
  bool shifts = random.insn.mnemonic == ZYDIS_MNEMONIC_SHLD || random.insn.mnemonic == ZYDIS_MNEMONIC_SHRD;
  return shifts && random.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
         random.operands[2].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
         (random.operands[0].mem.base == ZYDIS_REGISTER_RIP || random.operands[0].mem.base == ZYDIS_REGISTER_EIP);
}

bool is_hint_of_register(const RandomInstruction& random) {
  return random.insn.opcode_map == ZYDIS_OPCODE_MAP_0F && random.insn.opcode == 0x18 && random.insn.raw.modrm.mod == 3;
}

/// But for what is written, as long as both make accesses.
bool only_written_values_differ(const std::vector<vm::Access>& kvm, const std::vector<vm::Access>& soft) {
  auto alike = [](vm::Access a, const vm::Access& b) {
    if (a.is_write()) a.value = b.value;
    return a == b;
  };
  size_t both = std::min(kvm.size(), soft.size());
  return std::ranges::equal(std::span(kvm).first(both), std::span(soft).first(both), alike);
}

bool only_status_flags_differ(const Ends& ends) {
  constexpr uint64_t kStatus = 0x108d5;  // and RF, which KVM's emulator leaves where it refuses an instruction
  vm::CpuState soft = ends.soft.state;
  soft.rflags ^= (soft.rflags ^ ends.kvm.state.rflags) & kStatus;
  return soft == ends.kvm.state;
}

bool only_x87_flags_differ(const Ends& ends) {
  vm::CpuState soft = ends.soft.state;
  soft.fpu.fsw = static_cast<uint16_t>((soft.fpu.fsw & 0x7f00) | (ends.kvm.state.fpu.fsw & 0x80ff));
  return soft == ends.kvm.state;
}

constexpr uint16_t kReservedControl = 0xe0c0;

bool only_control_word_differs(const Ends& ends) {
  vm::CpuState soft = ends.soft.state;
  soft.fpu.fcw = static_cast<uint16_t>((soft.fpu.fcw & ~kReservedControl) | (ends.kvm.state.fpu.fcw & kReservedControl));
  return soft == ends.kvm.state;
}

struct Known {
  const char* reason;
  bool (*explains)(const Ends& ends);
};

constexpr Known kKnown[] = {
    {"translate.c: the flags that an instruction computed before its access faults are taken for operands of those before",
     [](const Ends& ends) {
       bool left = ends.same_fault() || !ends.kvm.accesses.empty() || ends.kvm.kind == Outcome::Kind::stopped;
       return left && ends.same_accesses() && only_status_flags_differ(ends);
     }},
    {"decode-new.c.inc, disas_insn_new(): an MMX instruction whose device access KVM's emulator refuses has entered MMX "
     "mode",
     [](const Ends& ends) {
       const RandomInstruction* last = ends.last();
       vm::CpuState soft = ends.soft.state;
       soft::enter_mmx(soft.fpu);
       return ends.kvm.kind == Outcome::Kind::stopped && last != nullptr && last->has_register(ZYDIS_REGCLASS_MMX) &&
              soft == ends.kvm.state && ends.same_accesses();
     }},
    {"fpu_helper.c: an x87 store sets its exceptions before it faults",
     [](const Ends& ends) {
       bool refused = ends.same_fault() || ends.kvm.kind == Outcome::Kind::stopped;
       return refused && is_x87(ends.last()) && ends.last()->accesses_memory() && only_x87_flags_differ(ends);
     }},
    {"fpu_helper.c, cpu_set_fpuc(): FLDCW and FLDENV keep the reserved bits of the control word",
     [](const Ends& ends) { return ends.same_accesses() && only_control_word_differs(ends); }},
    {"fpu_helper.c: operands of 10 bytes and more are accessed in an order of their own, which CR2 shows",
     [](const Ends& ends) {
       vm::CpuState soft = ends.soft.state;
       soft.cr2 = ends.kvm.state.cr2;
       bool near = ends.kvm.state.cr2 - ends.soft.state.cr2 + 512 < 1024;
       return ends.same_fault() && ends.kvm.fault->vector == kPageFault && is_x87(ends.last()) && near &&
              soft == ends.kvm.state;
     }},
    {"translate.c, gen_cmps(): the operand in RDI is read first",
     [](const Ends& ends) {
       constexpr auto kShutdown = Outcome::Kind::shutdown;
       bool both_ended = ends.kvm.kind == kShutdown && ends.soft.kind == kShutdown;
       bool both_faulted = ends.kvm.fault && ends.soft.fault && ends.kvm.fault->address == ends.soft.fault->address;
       if (both_ended) return std::ranges::any_of(ends.test.instructions, is_cmps);
       return both_faulted && ends.last() != nullptr && is_cmps(*ends.last());
     }},
    {"translate.c, disas_insn(): F2 and F3 in front of LOOPE and LOOPNE do nothing; to AMD's CPUs they are the condition",
     [](const Ends& ends) { return std::ranges::any_of(ends.test.instructions, is_prefixed_loop); }},
    {"translate.c, gen_enter(): ENTER's nested frame pointers are copied in an order of its own, and stay where it then "
     "faults",
     [](const Ends& ends) { return std::ranges::any_of(ends.test.instructions, is_nested_enter); }},
    {"translate.c: an instruction that needs the flags, and whose access KVM or the guest first maps, leaves what is no "
     "flags",
     [](const Ends& ends) {
       vm::CpuState soft = ends.soft.state;
       soft.rflags = ends.kvm.state.rflags;
       soft.dr6 = ends.kvm.state.dr6;  // TF may be among it
       return std::ranges::any_of(ends.test.instructions, needs_flags) && ends.same_accesses() && soft == ends.kvm.state;
     }},
    {"KVM's emulator raises #UD for MOV of a segment register with REX.R, where it does the access to a device",
     [](const Ends& ends) {
       return ends.kvm.fault && ends.kvm.fault->vector == kInvalidOpcode && ends.last() != nullptr &&
              moves_segment_with_rex_r(*ends.last());
     }},
    {"translate.c: what an instruction that needs the flags does to a device leaves KVM's emulator with the wrong ones",
     [](const Ends& ends) {
       return std::ranges::any_of(ends.test.instructions, needs_flags) && !ends.kvm.accesses.empty() &&
              only_written_values_differ(ends.kvm.accesses, ends.soft.accesses);
     }},
    {"translate.c, disas_insn(): #UD for a prefetch of a register (0F 18)",
     [](const Ends& ends) {
       bool invalid =
           ends.kvm.kind == Outcome::Kind::shutdown || (ends.kvm.fault && ends.kvm.fault->vector == kInvalidOpcode &&
                                                        ends.last() != nullptr && is_hint_of_register(*ends.last()));
       return invalid && std::ranges::any_of(ends.test.instructions, is_hint_of_register);
     }},
    {"KVM's emulator raises the #MF that TCG does not, before it accesses a device for an MMX instruction",
     [](const Ends& ends) {
       constexpr uint8_t kX87Fault = 16;
       const RandomInstruction* last = ends.last();
       return ends.kvm.fault && ends.kvm.fault->vector == kX87Fault && last != nullptr &&
              last->has_register(ZYDIS_REGCLASS_MMX);
     }},
    {"TCG checks no limit of the code segment; soft raises #GP for a near branch beyond it",
     [](const Ends& ends) {
       const RandomInstruction* branch = ends.soft.fault ? ends.test.at(ends.soft.fault->address) : nullptr;
       return ends.mode == Mode::real16 && branch != nullptr && ends.soft.fault->vector == kGeneralProtection &&
              branch->insn.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;
     }},
    {"KVM cannot hide CLFLUSH, which the CPU model does not show",
     [](const Ends& ends) {
       const RandomInstruction* missing = ends.soft_last();
       return missing != nullptr && ends.soft.fault->vector == kInvalidOpcode &&
              missing->insn.mnemonic == ZYDIS_MNEMONIC_CLFLUSH;
     }},
    {"decode-new.c.inc: conversions from and to MMX registers do not ask for CR4.OSFXSR",
     [](const Ends& ends) {
       const RandomInstruction* refused = ends.soft_last();
       return refused != nullptr && ends.mode == Mode::real16 && ends.soft.fault->vector == kInvalidOpcode &&
              converts_mmx(*refused);
     }},
    {"translate.c: RET's number of bytes has a sign there; KVM's emulator, which reads a stack in a device, has none",
     [](const Ends& ends) {
       return std::ranges::any_of(ends.test.instructions, returns_far_up) && !ends.kvm.accesses.empty();
     }},
    {"translate.c: SHLD and SHRD by a constant take an address relative to RIP for one less than it is",
     [](const Ends& ends) { return std::ranges::any_of(ends.test.instructions, is_relative_double_shift); }},
    {"fpu_helper.c, do_fstenv(), do_fldenv(): what is reserved and the error summary are as in memory, nothing gets masked",
     [](const Ends& ends) { return std::ranges::any_of(ends.test.instructions, moves_environment); }},
    {"fpu_helper.c, helper_ldmxcsr(), do_fxrstor(): reserved bits are no #GP",
     [](const Ends& ends) {
       const RandomInstruction* refused = ends.soft_last();
       return refused != nullptr && ends.soft.fault->vector == kGeneralProtection && loads_mxcsr(*refused);
     }},
    {"mem_helper.c: CMPXCHG8B leaves other flags than ZF as of operands before, and reserved ones",
     [](const Ends& ends) {
       return std::ranges::any_of(ends.test.instructions, is_wide_exchange) &&
              ((ends.kvm.state.rflags ^ ends.soft.state.rflags) & ~uint64_t{1 << 6}) != 0;
     }},
    {"BT behind a page that KVM maps: AF and OF are as at the start of a block of TCG (tcg_flags.h)",
     [](const Ends& ends) {
       constexpr uint64_t kAfAndOf = 0x810;
       vm::CpuState soft = ends.soft.state;
       soft.rflags ^= (soft.rflags ^ ends.kvm.state.rflags) & kAfAndOf;
       return std::ranges::any_of(ends.test.instructions, tests_bit) && soft == ends.kvm.state;
     }},
    {"softfloat-specialize.c.inc, pickNaN(): SSE's choice of two NaNs is that of the x87", only_nans_differ},
    {"KVM's emulator checks the limit of a segment for a string instruction at its last byte",
     [](const Ends& ends) {
       bool refused = ends.kvm.fault && ends.kvm.fault->vector == kGeneralProtection;
       return ends.mode == Mode::real16 && refused && ends.last() != nullptr &&
              is_string_at_limit(*ends.last(), ends.kvm.state);
     }},
    {"ops_sse.h: MIN and MAX give the operand that MXCSR.DAZ takes for zero as it is",
     [](const Ends& ends) {
       constexpr uint32_t kDaz = 1 << 6;
       return (ends.test.state.fpu.mxcsr & kDaz) != 0 && std::ranges::any_of(ends.test.instructions, is_minimum_or_maximum);
     }},
    {"translate.c: 0x66 on near branches of 64-bit code does not cut the target",
     [](const Ends& ends) {
       return code_bits(ends.mode) == 64 && std::ranges::any_of(ends.test.instructions, is_prefixed_branch);
     }},
    {"decode-new.c.inc: CRC32 of 16 bits takes another size",
     [](const Ends& ends) { return std::ranges::any_of(ends.test.instructions, is_crc_of_16_bits); }},
    {"KVM's emulator, which pushes where the stack is a device, writes 2 bytes of a selector",
     [](const Ends& ends) { return std::ranges::any_of(ends.test.instructions, pushes_segment) && !ends.same_accesses(); }},
    {"KVM stops at an instruction whose page fault it cannot deliver to a stack in a device, and has set CR2",
     [](const Ends& ends) {
       vm::CpuState soft = ends.soft.state;
       soft.cr2 = ends.kvm.state.cr2;
       return ends.kvm.kind == Outcome::Kind::stopped && soft == ends.kvm.state && ends.same_accesses();
     }},
    {"KVM's emulator gets PUSHA and POPA wrong on a device",
     [](const Ends& ends) { return std::ranges::any_of(ends.test.instructions, moves_all) && !ends.soft.accesses.empty(); }},
    {"fpu_helper.c, helper_fprem_common(): no conditions of what is no number",
     [](const Ends& ends) {
       return std::ranges::any_of(ends.test.instructions, is_partial_remainder) && only_conditions_of_x87_differ(ends);
     }},
    {"fpu_helper.c: TCG's x87 stack neither underflows nor overflows",
     [](const Ends& ends) {
       constexpr uint16_t kStackFaultFlag = 1 << 6;
       return (ends.soft.state.fpu.fsw & kStackFaultFlag) != 0;
     }},
    {"TCG checks no limit and no type of a segment; KVM's emulator, which does the access to a device, does",
     [](const Ends& ends) {
       bool refused =
           ends.kvm.fault && (ends.kvm.fault->vector == kGeneralProtection || ends.kvm.fault->vector == kStackFault);
       return code_bits(ends.mode) != 64 && refused && ends.soft.accesses.size() > ends.kvm.accesses.size() &&
              std::ranges::equal(ends.kvm.accesses, std::span(ends.soft.accesses).first(ends.kvm.accesses.size()));
     }},
};

}  // namespace

std::optional<std::string> known_difference_on_tcg(const TestCase& test, Mode mode, const Outcome& kvm,
                                                   const Outcome& soft) {
  // What FLDCW left may come with any other difference.
  Outcome adapted = soft;
  adapted.state.fpu.fcw =
      static_cast<uint16_t>((soft.state.fpu.fcw & ~kReservedControl) | (kvm.state.fpu.fcw & kReservedControl));
  for (const Outcome* outcome : {&soft, static_cast<const Outcome*>(&adapted)}) {
    for (const Known& known : kKnown) {
      if (known.explains({test, mode, kvm, *outcome})) return known.reason;
    }
  }
  return std::nullopt;
}

}  // namespace dejavm::differential
