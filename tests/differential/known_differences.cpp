#include "known_differences.h"

#include <algorithm>

#include "engine/soft/flags.h"
#include "engine/soft/translate/flag_effects.h"
#include "instruction_kinds.h"
#include "tcg_instructions.h"

namespace dejavm::differential {
namespace {

constexpr uint64_t kUndefinedAfterScan = soft::kStatusFlags & ~soft::kZf;

/// What a comparison looks at.
struct Difference {
  const RandomInstruction& random;
  Mode mode;
  const Outcome& kvm;
  const Outcome& soft;
  uint64_t start;  ///< the instruction's address
};

struct Known {
  const char* reason;
  bool (*concerns)(const RandomInstruction& random, Mode mode);  ///< which instructions
  bool (*explains)(const Difference& found);                     ///< what differs
};

bool is_emulated(Mode mode) { return mode != Mode::user64; }

bool only_flags_differ(const Difference& found) {
  vm::CpuState soft = found.soft.state;
  soft.rflags = found.kvm.state.rflags;
  return soft == found.kvm.state && found.kvm.accesses == found.soft.accesses;
}

bool faults_with(const Outcome& outcome, uint8_t vector) { return outcome.fault && outcome.fault->vector == vector; }

bool is_fxsave(const RandomInstruction& random) {
  return random.insn.meta.isa_set == ZYDIS_ISA_SET_FXSAVE || random.insn.meta.isa_set == ZYDIS_ISA_SET_FXSAVE64;
}

bool is_masked_move(const RandomInstruction& random) {
  return random.insn.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ || random.insn.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU;
}

/// Saves or loads all of the x87 environment.
bool is_x87_state(const RandomInstruction& random) { return moves_environment(random) || is_fxsave(random); }

bool is_bit_scan(const RandomInstruction& random) {
  return random.insn.mnemonic == ZYDIS_MNEMONIC_BSF || random.insn.mnemonic == ZYDIS_MNEMONIC_BSR;
}

bool may_leave_target(const RandomInstruction& random) {
  return random.insn.mnemonic == ZYDIS_MNEMONIC_CMPXCHG || is_bit_scan(random);
}

/// With the upper halves of registers that soft did not write cleared, where KVM has them so, the outcomes are the same.
bool only_upper_halves_differ(const Outcome& kvm, const Outcome& soft) {
  vm::CpuState state = soft.state;
  for (unsigned i = 0; i < 16; ++i) {
    if (static_cast<uint32_t>(state.gpr[i]) == kvm.state.gpr[i]) state.gpr[i] = kvm.state.gpr[i];
  }
  return state == kvm.state && kvm.accesses == soft.accesses;
}

/// This host's BSF and BSR keep the flags that the model's change.
bool host_keeps_flags_of_scans() {
  static const bool keeps = !soft::HostFlags::of_this_host({}).scans;
  return keeps;
}

bool any(const Difference&) { return true; }

constexpr Known kKnown[] = {
    {"kvm.ko's emulator has its own flags for AAD, AAM, DAA, DAS; soft has AMD's (user mode has no such instruction)",
     [](const RandomInstruction& random, Mode mode) {
       switch (random.insn.mnemonic) {
         case ZYDIS_MNEMONIC_AAD:
         case ZYDIS_MNEMONIC_AAM:
         case ZYDIS_MNEMONIC_DAA:
         case ZYDIS_MNEMONIC_DAS:
           return is_emulated(mode);
         default:
           return false;
       }
     },
     only_flags_differ},
    {"kvm.ko's emulator pushes the stack's size in ENTER with 0x66",
     [](const RandomInstruction& random, Mode mode) {
       return random.insn.mnemonic == ZYDIS_MNEMONIC_ENTER && random.has_prefix(0x66) && is_emulated(mode);
     },
     any},
    {"kvm.ko's emulator raises #UD for MOV of a segment register with REX.R, which AMD's processors ignore",
     [](const RandomInstruction& random, Mode mode) { return mode == Mode::long64 && moves_segment_with_rex_r(random); },
     [](const Difference& found) { return faults_with(found.kvm, kInvalidOpcode); }},
    {"kvm.ko's emulator clears the upper half of the 32-bit register that CMPXCHG, BSF or BSR does not write",
     [](const RandomInstruction& random, Mode mode) {
       return may_leave_target(random) && random.insn.operand_width == 32 && mode == Mode::long64;
     },
     [](const Difference& found) { return only_upper_halves_differ(found.kvm, found.soft); }},
    {"this host's processor keeps the flags that BSF and BSR leave undefined (Zen 3); soft has those of its model (Zen 4)",
     [](const RandomInstruction& random, Mode) { return is_bit_scan(random) && host_keeps_flags_of_scans(); },
     [](const Difference& found) {
       if (((found.kvm.state.rflags ^ found.soft.state.rflags) & ~kUndefinedAfterScan) != 0) return false;
       Outcome soft = found.soft;
       soft.state.rflags = found.kvm.state.rflags;
       // In long mode the emulator's habit above comes with it.
       bool emulated = found.mode == Mode::long64 && found.random.insn.operand_width == 32;
       return soft.state == found.kvm.state ? found.kvm.accesses == soft.accesses
                                            : emulated && only_upper_halves_differ(found.kvm, soft);
     }},
    {"kvm.ko's emulator ignores F2 and F3 in front of LOOPE and LOOPNE; on AMD's processors the last of them is the "
     "condition",
     [](const RandomInstruction& random, Mode mode) { return is_prefixed_loop(random) && is_emulated(mode); },
     [](const Difference& found) {
       vm::CpuState soft = found.soft.state;
       soft.rip = found.kvm.state.rip;
       return soft == found.kvm.state;
     }},
    {"kvm.ko's emulator loses the flags of the iterations before the one of a repeated string instruction that faults",
     [](const RandomInstruction& random, Mode mode) {
       bool repeats = random.has_prefix(0xf2) || random.has_prefix(0xf3);
       return is_emulated(mode) && repeats && random.insn.meta.category == ZYDIS_CATEGORY_STRINGOP;
     },
     [](const Difference& found) { return found.kvm.fault.has_value() && only_flags_differ(found); }},
    {"kvm.ko's emulator stores a segment register with the operand's size; processors store 2 bytes",
     [](const RandomInstruction& random, Mode mode) {
       return random.insn.mnemonic == ZYDIS_MNEMONIC_MOV && random.has_register(ZYDIS_REGCLASS_SEGMENT) &&
              random.accesses_memory() && random.insn.operand_width > 16 && is_emulated(mode);
     },
     [](const Difference& found) { return found.kvm.state == found.soft.state; }},
    {"kvm.ko's emulator does FXSAVE and FXRSTOR at any address (this host's KVM gives it the #GP of user code)",
     [](const RandomInstruction& random, Mode mode) { return has_paging(mode) && is_fxsave(random); },
     [](const Difference& found) {
       return faults_with(found.soft, kGeneralProtection) && found.soft.fault->address == found.start;
     }},
    {"FXSAVE shows the MXCSR_MASK of the host (with AMD's bit 17), soft that of its model",
     [](const RandomInstruction& random, Mode) { return is_fxsave(random); },
     [](const Difference& found) {
       return found.kvm.state == found.soft.state && found.kvm.accesses == found.soft.accesses;
     }},
    {"FNSTENV and FNSAVE show the last x87 instruction of a processor; soft keeps it for unmasked exceptions only, as "
     "FXSAVE does",
     [](const RandomInstruction& random, Mode) {
       return random.insn.mnemonic == ZYDIS_MNEMONIC_FNSTENV || random.insn.mnemonic == ZYDIS_MNEMONIC_FNSAVE;
     },
     [](const Difference& found) {
       return found.kvm.state == found.soft.state && found.kvm.accesses == found.soft.accesses;
     }},
    {"processors copy ENTER's nested frame pointers in an order of their own, which shows where the frames overlap",
     [](const RandomInstruction& random, Mode mode) {
       return random.insn.mnemonic == ZYDIS_MNEMONIC_ENTER && random.operands[1].imm.value.u > 1 && mode == Mode::user64;
     },
     [](const Difference& found) { return found.kvm.state == found.soft.state; }},
    {"kvm.ko's emulator does not cut the address of FXSAVE and FXRSTOR to 32 bits",
     [](const RandomInstruction& random, Mode mode) {
       return mode == Mode::long64 && is_fxsave(random) && random.has_prefix(0x67);
     },
     [](const Difference& found) { return faults_with(found.kvm, kPageFault) && found.kvm.state.cr2 > UINT32_MAX; }},
    {"kvm.ko's emulator enters MMX mode for a store of an MMX register that then faults",
     [](const RandomInstruction& random, Mode) {
       return random.has_register(ZYDIS_REGCLASS_MMX) && random.accesses_memory();
     },
     [](const Difference& found) {
       vm::CpuState soft = found.soft.state;
       soft.fpu = found.kvm.state.fpu;
       return found.kvm.fault && found.kvm.state.fpu.ftw == 0xff && soft == found.kvm.state;
     }},
    {"kvm.ko's emulator reads a device for CLFLUSH",
     [](const RandomInstruction& random, Mode mode) {
       return random.insn.mnemonic == ZYDIS_MNEMONIC_CLFLUSH && is_emulated(mode);
     },
     [](const Difference& found) { return found.kvm.state == found.soft.state && found.soft.accesses.empty(); }},
    {"kvm.ko's emulator reads the operand before it sees that it may not write through CS",
     [](const RandomInstruction& random, Mode mode) { return random.has_prefix(0x2e) && mode == Mode::flat32; },
     [](const Difference& found) {
       return faults_with(found.kvm, kGeneralProtection) && found.kvm.state == found.soft.state &&
              found.soft.accesses.empty() && found.kvm.accesses.size() == 1 && !found.kvm.accesses.front().is_write();
     }},
};

/// An instruction that ends the run, on KVM with another exception.
struct KnownFault {
  const char* reason;
  bool (*concerns)(const RandomInstruction& random, Mode mode);
  uint8_t kvm;
  uint8_t soft;
};

constexpr KnownFault kKnownFaults[] = {
    {"this host's KVM hands #GP of user code to kvm.ko's emulator, which raises #UD for what it does not know",
     [](const RandomInstruction& random, Mode mode) {
       return mode == Mode::user64 && (random.accesses_memory() || is_masked_move(random));
     },
     kInvalidOpcode, kGeneralProtection},
    {"this host's KVM hands #SS of user code to kvm.ko's emulator, which raises #UD for what it does not know",
     [](const RandomInstruction& random, Mode mode) {
       return mode == Mode::user64 && (random.accesses_memory() || is_masked_move(random));
     },
     kInvalidOpcode, kStackFault},
    {"kvm.ko's emulator obeys an ES, CS or DS override in 64-bit mode: #GP; on processors RSP and RBP are of the stack",
     [](const RandomInstruction& random, Mode mode) {
       bool overridden = random.has_prefix(0x26) || random.has_prefix(0x2e) || random.has_prefix(0x3e);
       return code_bits(mode) == 64 && overridden;
     },
     kGeneralProtection, kStackFault},
    {"kvm.ko's emulator takes an SS override in 64-bit mode for a stack access: #SS; on processors the prefix does nothing",
     [](const RandomInstruction& random, Mode mode) { return code_bits(mode) == 64 && random.has_prefix(0x36); },
     kStackFault, kGeneralProtection},
    {"kvm.ko's emulator takes an address of FXSAVE and FXRSTOR that is not canonical for one that is not mapped",
     [](const RandomInstruction& random, Mode mode) { return has_paging(mode) && is_fxsave(random); }, kPageFault,
     kStackFault},
    {"kvm.ko's emulator checks no alignment of FXSAVE and FXRSTOR before it accesses memory",
     [](const RandomInstruction& random, Mode mode) { return has_paging(mode) && is_fxsave(random); }, kPageFault,
     kGeneralProtection},
};

/// The same but for the exception and its frame.
bool same_before_fault(const Outcome& kvm, const Outcome& soft) {
  for (unsigned i = 0; i < 16; ++i) {
    if (i != vm::rsp && kvm.state.gpr[i] != soft.state.gpr[i]) return false;
  }
  return kvm.fault->address == soft.fault->address && kvm.accesses == soft.accesses && kvm.state.rflags == soft.state.rflags;
}

const char* known_fault(const TestCase& test, Mode mode, const Outcome& kvm, const Outcome& soft) {
  if (!kvm.fault || !soft.fault || !same_before_fault(kvm, soft)) return nullptr;
  bool both_page_faults = kvm.fault->vector == kPageFault && soft.fault->vector == kPageFault;
  if (mode == Mode::user64 && both_page_faults && kvm.state == soft.state && kvm.state.cr2 >> 47 == 0x1ffff) {
    return "this host's KVM has its own error code for what user code does to the kernel's half";
  }
  const RandomInstruction* random = test.at(soft.fault->address);
  if (random == nullptr) return nullptr;
  for (const KnownFault& known : kKnownFaults) {
    if (kvm.fault->vector == known.kvm && soft.fault->vector == known.soft && known.concerns(*random, mode))
      return known.reason;
  }
  if (mode == Mode::user64 && is_cmps(*random))
    return "processors look at CMPS's operand in RDI first; kvm.ko's emulator and soft at RSI's";
  constexpr uint64_t kEndOfLowHalf = uint64_t{1} << 47;
  bool first_part = kvm.fault->vector == kPageFault && soft.fault->vector == kGeneralProtection;
  if (first_part && kvm.state.cr2 < kEndOfLowHalf && kvm.state.cr2 + 16 > kEndOfLowHalf) {
    return "processors raise #PF for the first part of an operand whose second part is not canonical";
  }
  bool only_address_differs = both_page_faults && kvm.state.rip == soft.state.rip && mode == Mode::user64;
  if (only_address_differs && is_x87_state(*random) && kvm.state.cr2 / 0x1000 == soft.state.cr2 / 0x1000) {
    return "processors access the parts of the x87 environment in an order of their own, which CR2 shows";
  }
  if (mode == Mode::long64 && both_page_faults && kvm.state == soft.state && kvm.state.cr2 % 0x1000 == 0) {
    return "kvm.ko's emulator writes up to the end of a page before it sees that the next one may not be written";
  }
  return nullptr;
}

bool loads_stack_segment(const RandomInstruction& random) {
  return random.insn.mnemonic != ZYDIS_MNEMONIC_LSS && random.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
         random.operands[0].reg.value == ZYDIS_REGISTER_SS;
}

/// Where the run ended.
const char* known_shadow(const TestCase& test, const Outcome& kvm, const Outcome& soft) {
  vm::CpuState state = soft.state;
  state.interrupt_shadow = kvm.state.interrupt_shadow;
  if (state != kvm.state || kvm.accesses != soft.accesses) return nullptr;
  if (kvm.state.interrupt_shadow == 1) return "kvm.ko's emulator gives STI a shadow also where IF was set before";
  bool behind_another = std::ranges::count_if(test.instructions, loads_stack_segment) > 1;
  if (kvm.state.interrupt_shadow == 0 && soft.state.interrupt_shadow == 2 && behind_another)
    return "kvm.ko's emulator gives a load of SS right behind another no shadow";
  return nullptr;
}

/// Of an overflow or underflow that faults.
bool only_inexact_differs(const Outcome& kvm, const Outcome& soft) {
  constexpr uint8_t kSimdFault = 19;
  constexpr uint32_t kOverflowOrUnderflow = 0x18, kInexact = 0x20;
  vm::CpuState state = soft.state;
  state.fpu.mxcsr ^= kInexact;
  return faults_with(kvm, kSimdFault) && (state.fpu.mxcsr & kOverflowOrUnderflow) != 0 && state == kvm.state;
}

bool loads_hidden_mxcsr(const TestCase& test, const Outcome& kvm, const Outcome& soft) {
  constexpr uint32_t kMisalignedMask = 1u << 17;
  if (!faults_with(soft, kGeneralProtection) || (kvm.state.fpu.mxcsr & kMisalignedMask) == 0) return false;
  const RandomInstruction* random = test.at(soft.fault->address);
  return random != nullptr && (random->insn.mnemonic == ZYDIS_MNEMONIC_LDMXCSR || is_fxsave(*random));
}

bool is_wild(uint64_t stack) { return stack < kData + 0x100 || stack > kData + kDataSize - 0x100; }

/// Exceptions and PUSHA, POPA where the stack pointer has left RAM or its segment.
const char* known_stack(const TestCase& test, Mode mode, const Outcome& kvm, const Outcome& soft) {
  if (mode == Mode::user64) return nullptr;
  if (kvm.kind == Outcome::Kind::shutdown && soft.kind == kvm.kind && kvm.accesses == soft.accesses) {
    return "a triple fault leaves kvm.ko's parts of frames behind";
  }
  bool raised = kvm.fault || soft.fault || kvm.kind == Outcome::Kind::shutdown || soft.kind == Outcome::Kind::shutdown;
  auto stack = [](const Outcome& outcome) { return outcome.state.segment[vm::ss].base + outcome.state.gpr[vm::rsp]; };
  bool wild = is_wild(stack(kvm)) || is_wild(stack(soft));
  if (raised && wild)
    return "kvm.ko delivers exceptions its own way where the stack is no RAM, wraps or has 32 bits in real mode";
  bool on_device = std::ranges::any_of(test.instructions, moves_all) && !soft.accesses.empty();
  return on_device ? "kvm.ko's emulator gets PUSHA and POPA wrong on a device" : nullptr;
}

}  // namespace

bool may_differ(const RandomInstruction& random, const GuestImage& image) {
  if (image.on_tcg) return hides_others_on_tcg(random);
  for (const Known& known : kKnown) {
    if (known.concerns(random, image.mode)) return true;
  }
  return false;
}

std::optional<std::string> known_difference(const TestCase& test, const GuestImage& image, const Outcome& kvm,
                                            const Outcome& soft) {
  Mode mode = image.mode;
  if (const char* reason = known_fault(test, mode, kvm, soft)) return reason;
  if (const char* reason = known_stack(test, mode, kvm, soft)) return reason;
  if (mode == Mode::user64 && loads_hidden_mxcsr(test, kvm, soft)) {
    return "AMD's processors let MXCSR have bit 17 (MisAlignSse), which the CPU model does not have";
  }
  if (kvm.kind == Outcome::Kind::stopped && soft.kind == kvm.kind) {
    if (const char* reason = known_shadow(test, kvm, soft)) return reason;
  }
  if (only_inexact_differs(kvm, soft)) {
    return "soft does not compute whether an overflow or underflow that faults is exact with a wider exponent";
  }
  if (!test.is_alone()) return std::nullopt;
  const RandomInstruction& random = test.instructions.front();
  for (const Known& known : kKnown) {
    if (known.concerns(random, mode) && known.explains({random, mode, kvm, soft, test.code})) return known.reason;
  }
  return std::nullopt;
}

}  // namespace dejavm::differential
