#include "comparable.h"

namespace dejavm::differential {
namespace {

/// Left out everywhere:
///  - time, random numbers, and what names the host (RDTSC, RDRAND, RDPMC, XGETBV, RDPID, RDPKRU, CPUID of the host's own);
///  - virtualization and SMM: the host's KVM has its own answers (VMCALL), and dejavm64-v1 has none;
///  - control state whose random values change what all later code means (MOV CR, LMSW, WRMSR, LGDT, LIDT, LTR, LLDT, far
///    transfers, IRET, segment loads in protected mode): these have unit tests and the contract suite;
///  - port and interrupt instructions: the contract suite has them; a random one ends the guest or blocks it.
bool of_system(const ZydisDecodedInstruction& insn) {
  if ((insn.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) != 0 || insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return true;
  switch (insn.meta.category) {
    case ZYDIS_CATEGORY_SYSTEM:
    case ZYDIS_CATEGORY_IO:
    case ZYDIS_CATEGORY_IOSTRINGOP:
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_VTX:
    case ZYDIS_CATEGORY_XSAVE:
    case ZYDIS_CATEGORY_XSAVEOPT:
    case ZYDIS_CATEGORY_RDRAND:
    case ZYDIS_CATEGORY_RDSEED:
    case ZYDIS_CATEGORY_CET:
    case ZYDIS_CATEGORY_SGX:
    case ZYDIS_CATEGORY_KEYLOCKER:
    case ZYDIS_CATEGORY_MPX:
    case ZYDIS_CATEGORY_RDWRFSGS:
    case ZYDIS_CATEGORY_UINTR:
    case ZYDIS_CATEGORY_PKU:
    case ZYDIS_CATEGORY_WAITPKG:
      return true;
    default:
      break;
  }
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_RDPID:
    case ZYDIS_MNEMONIC_RDPRU:
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_RDPKRU:
    case ZYDIS_MNEMONIC_XABORT:
    case ZYDIS_MNEMONIC_XBEGIN:
    case ZYDIS_MNEMONIC_XTEST:
    case ZYDIS_MNEMONIC_XEND:
    case ZYDIS_MNEMONIC_MONITORX:
    case ZYDIS_MNEMONIC_MWAITX:
    case ZYDIS_MNEMONIC_CLZERO:
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
      return true;
    default:
      return false;
  }
}

/// x87 transcendentals and RCP/RSQRT: soft has the model's tables or the host's answer, which is no news on this host.
bool approximates(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_FSIN:
    case ZYDIS_MNEMONIC_FCOS:
    case ZYDIS_MNEMONIC_FSINCOS:
    case ZYDIS_MNEMONIC_FPTAN:
    case ZYDIS_MNEMONIC_FPATAN:
    case ZYDIS_MNEMONIC_F2XM1:
    case ZYDIS_MNEMONIC_FYL2X:
    case ZYDIS_MNEMONIC_FYL2XP1:
      return true;
    default:
      return false;
  }
}

/// What dejavm64-v1 may lack and no KVM can take away from code that runs natively.
bool may_be_hidden(const ZydisDecodedInstruction& insn) {
  switch (insn.meta.isa_set) {
    case ZYDIS_ISA_SET_ADOX_ADCX:
    case ZYDIS_ISA_SET_GFNI:
    case ZYDIS_ISA_SET_SHA:
      return true;
    default:
      break;
  }
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_CLFLUSHOPT:
    case ZYDIS_MNEMONIC_CLWB:
    case ZYDIS_MNEMONIC_CMPXCHG16B:
    case ZYDIS_MNEMONIC_EXTRQ:
    case ZYDIS_MNEMONIC_INSERTQ:
    case ZYDIS_MNEMONIC_LZCNT:
    case ZYDIS_MNEMONIC_MOVBE:
    case ZYDIS_MNEMONIC_MOVNTSD:
    case ZYDIS_MNEMONIC_MOVNTSS:
    case ZYDIS_MNEMONIC_POPCNT:
    case ZYDIS_MNEMONIC_SERIALIZE:
    case ZYDIS_MNEMONIC_TZCNT:
    case ZYDIS_MNEMONIC_XRESLDTRK:
    case ZYDIS_MNEMONIC_XSUSLDTRK:
      return true;
    default:
      return false;
  }
}

bool writes_segment(const RandomInstruction& random) {
  for (unsigned i = 0; i < random.insn.operand_count; ++i) {
    const ZydisDecodedOperand& operand = random.operands[i];
    bool segment =
        operand.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_SEGMENT;
    if (segment && (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0) return true;
  }
  return false;
}

/// KVM runs ring 3 natively also where it is no hardware virtualization: what shows the host's own selectors and descriptor
/// tables is the host's.
bool shows_host(const RandomInstruction& random) {
  switch (random.insn.mnemonic) {
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SMSW:
      return true;
    default:
      break;
  }
  return random.has_register(ZYDIS_REGCLASS_SEGMENT);
}

/// kvm.ko's emulator ignores 0x66 in front of near branches in 64-bit mode, which then go elsewhere; AMD's processors cut
/// RIP to 16 bits, as user64 shows.
bool is_cut_branch(const RandomInstruction& random) {
  return random.insn.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE && random.has_prefix(0x66);
}

/// kvm.ko's emulator gives prefetches and NOPs with another address size the wrong length.
bool is_misread(const RandomInstruction& random) {
  bool hint = random.insn.opcode_map == ZYDIS_OPCODE_MAP_0F && random.insn.opcode >= 0x18 && random.insn.opcode <= 0x1f;
  return hint && random.has_prefix(0x67);
}

}  // namespace

bool is_vector_or_x87(const ZydisDecodedInstruction& insn) {
  switch (insn.meta.isa_set) {
    case ZYDIS_ISA_SET_X87:
    case ZYDIS_ISA_SET_FCMOV:
    case ZYDIS_ISA_SET_PENTIUMMMX:
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSE2:
    case ZYDIS_ISA_SET_SSE2MMX:
    case ZYDIS_ISA_SET_SSE3:
    case ZYDIS_ISA_SET_SSE3X87:
      return true;
    default:
      return false;
  }
}

bool comparable(const RandomInstruction& random, Mode mode) {
  const ZydisDecodedInstruction& insn = random.insn;
  if (insn.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) return false;  // VEX, EVEX, XOP are not of dejavm64-v1
  if (of_system(insn) || approximates(insn.mnemonic) || may_be_hidden(insn)) return false;
  if (mode != Mode::real16 && writes_segment(random)) return false;
  if (mode == Mode::user64) return !shows_host(random);
  return mode == Mode::long64 ? !is_cut_branch(random) : !is_misread(random);
}

}  // namespace dejavm::differential
