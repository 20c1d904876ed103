// x87 instructions by stub. The host's x87 runs them with the guest's own control word, exceptions unmasked or not: an
// unmasked one shows in the saved status word, and the stub never lets the host wait for it. So what is written, wrapped or
// left alone is what the hardware does.
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "engine/soft/fault.h"
#include "engine/soft/flags.h"
#include "engine/soft/native_ops.h"
#include "engine/soft/operands.h"

namespace dejavm::soft {
namespace {

// FXSAVE's layout (AMD64 APM volume 2, section 11.4.4).
constexpr size_t kFcwAt = 0, kFswAt = 2, kFtwAt = 4, kMxcsrAt = 24, kStackAt = 32;
constexpr uint16_t kPrecision = 1 << 5, kStackFault = 1 << 6;
constexpr uint16_t kSignals = kX87Exceptions | kStackFault;

template <typename T>
void put(NativeFrame& frame, size_t at, T value) {
  std::memcpy(frame.image + at, &value, sizeof value);
}
template <typename T>
T get(const NativeFrame& frame, size_t at) {
  T value;
  std::memcpy(&value, frame.image + at, sizeof value);
  return value;
}

/// The guest's x87 for the stub; its sticky flags are left out, so that those of this instruction can be told.
void fill_image(const vm::Fpu& fpu, bool ignores_exceptions, NativeFrame& frame) {
  std::memset(frame.image, 0, kStackAt);
  put<uint16_t>(frame, kFcwAt, ignores_exceptions ? fpu.fcw | kX87Exceptions : fpu.fcw);
  put<uint16_t>(frame, kFswAt, fpu.fsw & ~(kSignals | kFswErrorSummary | kFswBusy));
  put<uint8_t>(frame, kFtwAt, fpu.ftw);
  put<uint32_t>(frame, kMxcsrAt, _mm_getcsr());
  std::memcpy(frame.image + kStackAt, fpu.st.data(), sizeof fpu.st);
  std::memset(frame.image + kStackAt + sizeof fpu.st, 0, sizeof frame.image - kStackAt - sizeof fpu.st);
}

/// Pointers to the instruction are kept while it has an exception pending, as FXSAVE on AMD shows them.
void set_pointers(Core& core, const Instruction& insn) {
  vm::Fpu& fpu = core.cpu.fpu;
  bool pending = (fpu.fsw & kFswErrorSummary) != 0;
  fpu.last_ip = pending ? core.cpu.rip : 0;
  fpu.last_dp = pending && insn.has_memory ? effective_offset(core, insn) : 0;
  fpu.last_opcode = pending ? static_cast<uint16_t>(insn.immediate) : uint16_t{0};
}

// ---- CpuKind::tcg

bool pushes(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_FLD:
    case ZYDIS_MNEMONIC_FILD:
    case ZYDIS_MNEMONIC_FBLD:
    case ZYDIS_MNEMONIC_FLD1:
    case ZYDIS_MNEMONIC_FLDL2E:
    case ZYDIS_MNEMONIC_FLDL2T:
    case ZYDIS_MNEMONIC_FLDLG2:
    case ZYDIS_MNEMONIC_FLDLN2:
    case ZYDIS_MNEMONIC_FLDPI:
    case ZYDIS_MNEMONIC_FLDZ:
    case ZYDIS_MNEMONIC_FXTRACT:
    case ZYDIS_MNEMONIC_FPTAN:
    case ZYDIS_MNEMONIC_FSINCOS:
      return true;
    default:
      return false;
  }
}

/// Its precision control has a reserved value, which is the full precision.
uint16_t control_on_tcg(uint16_t control) {
  constexpr uint16_t kFull = 0x300, kReserved = 0x100;
  return (control & kFull) == kReserved ? static_cast<uint16_t>(control | kFull) : control;
}

/// The tags with which the stub has neither underflow nor overflow of the stack, which TCG does not know.
uint8_t tags_without_faults(const vm::Fpu& fpu, ZydisMnemonic mnemonic) {
  if (mnemonic == ZYDIS_MNEMONIC_FXAM) return fpu.ftw;
  return static_cast<uint8_t>(pushes(mnemonic) ? ~(1u << ((stack_top(fpu) - 1) & 7)) : 0xffu);
}

/// TCG sets C1 in FXAM and FPREM only, not for how a result was rounded, and clears it where the stack only turns.
bool sets_c1_on_tcg(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_FXAM:
    case ZYDIS_MNEMONIC_FPREM:
    case ZYDIS_MNEMONIC_FPREM1:
    case ZYDIS_MNEMONIC_FINCSTP:
    case ZYDIS_MNEMONIC_FDECSTP:
      return true;
    default:
      return false;
  }
}

/// TCG looks for unmasked exceptions where an instruction may signal one, and clears no summary.
bool signals_on_tcg(const Instruction& insn) {
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_FLD:
    case ZYDIS_MNEMONIC_FST:
    case ZYDIS_MNEMONIC_FSTP:
    case ZYDIS_MNEMONIC_FSTPNCE:
      return insn.has_memory && insn.memory_size < 10;
    case ZYDIS_MNEMONIC_FILD:
    case ZYDIS_MNEMONIC_FBLD:
    case ZYDIS_MNEMONIC_FABS:
    case ZYDIS_MNEMONIC_FCHS:
    case ZYDIS_MNEMONIC_FXCH:
    case ZYDIS_MNEMONIC_FXAM:
    case ZYDIS_MNEMONIC_FLD1:
    case ZYDIS_MNEMONIC_FLDL2E:
    case ZYDIS_MNEMONIC_FLDL2T:
    case ZYDIS_MNEMONIC_FLDLG2:
    case ZYDIS_MNEMONIC_FLDLN2:
    case ZYDIS_MNEMONIC_FLDPI:
    case ZYDIS_MNEMONIC_FLDZ:
    case ZYDIS_MNEMONIC_FNOP:
    case ZYDIS_MNEMONIC_FFREE:
    case ZYDIS_MNEMONIC_FFREEP:
    case ZYDIS_MNEMONIC_FINCSTP:
    case ZYDIS_MNEMONIC_FDECSTP:
      return false;
    default:
      return (insn.selector & kReadsFlags) == 0;  // FCMOVcc
  }
}

void summarize_on_tcg(vm::Fpu& fpu) {
  if ((fpu.fsw & ~fpu.fcw & kX87Exceptions) != 0) fpu.fsw |= kFswErrorSummary | kFswBusy;
}

/// What the stub did, as TCG does it: tags change where the stub changed them, and it has no denormal exception.
void adapt_image_to_tcg(const vm::Fpu& before, ZydisMnemonic mnemonic, NativeFrame& frame) {
  constexpr uint16_t kDenormal = 1 << 1, kC1 = 1 << 9, kC2 = 1 << 10, kConditions = 0x4700;
  auto given = tags_without_faults(before, mnemonic), tags = get<uint8_t>(frame, kFtwAt);
  unsigned changed = given ^ tags;
  put<uint8_t>(frame, kFtwAt, static_cast<uint8_t>((before.ftw & ~changed) | (tags & changed)));
  auto status = static_cast<uint16_t>(get<uint16_t>(frame, kFswAt) & ~kDenormal);
  if (!sets_c1_on_tcg(mnemonic)) status = static_cast<uint16_t>((status & ~kC1) | (before.fsw & kC1));
  bool negative_root = mnemonic == ZYDIS_MNEMONIC_FSQRT && (before.st[0][9] & 0x80) != 0;
  if (negative_root) status = static_cast<uint16_t>((status & ~kConditions) | kC2);
  put<uint16_t>(frame, kFswAt, status);
}

// ----

void take_image(Core& core, const Instruction& insn, const NativeFrame& frame) {
  vm::Fpu& fpu = core.cpu.fpu;
  uint16_t kept = fpu.fsw & (core.features.tcg ? kSignals | kFswErrorSummary | kFswBusy : kSignals);
  fpu.fsw = static_cast<uint16_t>(get<uint16_t>(frame, kFswAt) | kept);
  if (!core.features.tcg) {
    summarize_exceptions(fpu);
  } else if (signals_on_tcg(insn)) {
    summarize_on_tcg(fpu);
  }
  fpu.ftw = get<uint8_t>(frame, kFtwAt);
  std::memcpy(fpu.st.data(), frame.image + kStackAt, sizeof fpu.st);
  for (auto& reg : fpu.st) std::fill(reg.begin() + 10, reg.end(), uint8_t{0});
}

/// FLD ST(7), which is the register that becomes ST(0): with the tags that a push needs the stub would find it empty.
bool pushes_itself(const Instruction& insn) {
  constexpr uint64_t kOpcode = 0x1c7;  // D9 C7
  return insn.mnemonic == ZYDIS_MNEMONIC_FLD && !insn.has_memory && insn.immediate == kOpcode;
}

void push_itself(vm::Fpu& fpu) {
  unsigned top = (stack_top(fpu) - 1) & 7;
  fpu.fsw = static_cast<uint16_t>((fpu.fsw & ~kFswTop) | top << 11);
  fpu.ftw = static_cast<uint8_t>(fpu.ftw | 1u << top);
  std::rotate(fpu.st.begin(), fpu.st.begin() + 7, fpu.st.end());
}

void run_x87(Core& core, const Instruction& insn) {
  require_x87(core);
  vm::Fpu& fpu = core.cpu.fpu;
  if (core.features.tcg && pushes_itself(insn)) return push_itself(fpu);
  NativeFrame frame;
  uint64_t address = 0;
  bool stores = insn.has_memory && insn.memory_is_destination;
  if (insn.has_memory) {
    address = effective_address(core, insn, insn.memory_size, stores);
    if (!stores) {
      core.memory.read_bytes(address, frame.memory, insn.memory_size);
    } else if (!core.features.tcg) {
      core.memory.probe_write(address, insn.memory_size);
    }
  }
  // The former only with CR0.NE = 0, see require_x87().
  bool ignores_exceptions = (fpu.fsw & kFswErrorSummary) != 0 || core.features.tcg;
  fill_image(fpu, ignores_exceptions, frame);
  if (core.features.tcg) put<uint16_t>(frame, kFcwAt, control_on_tcg(get<uint16_t>(frame, kFcwAt)));
  if (core.features.tcg) put<uint8_t>(frame, kFtwAt, tags_without_faults(fpu, static_cast<ZydisMnemonic>(insn.mnemonic)));
  frame.flags = core.cpu.rflags & kStatusFlags;
  insn.native(&frame);
  if (core.features.tcg) adapt_image_to_tcg(fpu, static_cast<ZydisMnemonic>(insn.mnemonic), frame);
  uint16_t unmasked = static_cast<uint16_t>(get<uint16_t>(frame, kFswAt) & ~fpu.fcw & kX87Exceptions);
  bool has_result = ignores_exceptions || (unmasked & ~kPrecision) == 0;
  if (core.features.tcg && stores && signals_on_tcg(insn) && insn.memory_size < 10) {
    fpu.fsw =
        static_cast<uint16_t>(fpu.fsw | (get<uint16_t>(frame, kFswAt) & kSignals));  // also where the store then faults
    summarize_on_tcg(fpu);
  }
  if (stores && has_result) core.memory.write_bytes(address, frame.memory, insn.memory_size);
  take_image(core, insn, frame);
  set_pointers(core, insn);
  if ((insn.selector & kWritesFlags) != 0) {
    uint64_t written = core.features.tcg ? kZf | kPf | kCf : kStatusFlags;
    core.cpu.rflags = (core.cpu.rflags & ~written) | (frame.flags & written);
  }
}

#define M(name) ZYDIS_MNEMONIC_##name
constexpr ZydisMnemonic kArithmetic[] = {
    M(FABS),    M(FADD),   M(FADDP),  M(FBLD),    M(FBSTP),  M(FCHS),    M(FCOM),    M(FCOMP), M(FCOMPP), M(FDECSTP),
    M(FDIV),    M(FDIVP),  M(FDIVR),  M(FDIVRP),  M(FFREE),  M(FFREEP),  M(FIADD),   M(FICOM), M(FICOMP), M(FIDIV),
    M(FIDIVR),  M(FILD),   M(FIMUL),  M(FINCSTP), M(FIST),   M(FISTP),   M(FISTTP),  M(FISUB), M(FISUBR), M(FLD),
    M(FLD1),    M(FLDL2E), M(FLDL2T), M(FLDLG2),  M(FLDLN2), M(FLDPI),   M(FLDZ),    M(FMUL),  M(FMULP),  M(FNOP),
    M(FRNDINT), M(FSCALE), M(FSQRT),  M(FST),     M(FSTP),   M(FSTPNCE), M(FSUB),    M(FSUBP), M(FSUBR),  M(FSUBRP),
    M(FTST),    M(FUCOM),  M(FUCOMP), M(FUCOMPP), M(FXAM),   M(FXCH),    M(FXTRACT), M(FPREM), M(FPREM1)};
// Their results are the host's: CPUs differ in the last bit (docs/determinism.md).
constexpr ZydisMnemonic kTranscendental[] = {M(F2XM1), M(FCOS),    M(FPATAN), M(FPTAN),
                                             M(FSIN),  M(FSINCOS), M(FYL2X),  M(FYL2XP1)};
constexpr ZydisMnemonic kConditional[] = {M(FCMOVB),  M(FCMOVE),  M(FCMOVBE),  M(FCMOVU),
                                          M(FCMOVNB), M(FCMOVNE), M(FCMOVNBE), M(FCMOVNU)};
constexpr ZydisMnemonic kCompare[] = {M(FCOMI), M(FCOMIP), M(FUCOMI), M(FUCOMIP)};
#undef M

template <size_t N>
bool contains(const ZydisMnemonic (&list)[N], ZydisMnemonic mnemonic) {
  return std::ranges::find(list, mnemonic) != std::end(list);
}

std::optional<uint16_t> x87_use(ZydisMnemonic mnemonic) {
  if (contains(kArithmetic, mnemonic) || contains(kTranscendental, mnemonic)) return uint16_t{0};
  if (contains(kConditional, mnemonic)) return uint16_t{kReadsFlags};
  if (contains(kCompare, mnemonic)) return uint16_t{kWritesFlags};
  return std::nullopt;
}

}  // namespace

void summarize_exceptions(vm::Fpu& fpu) {
  constexpr uint16_t kSummary = kFswErrorSummary | kFswBusy;
  bool pending = (fpu.fsw & ~fpu.fcw & kX87Exceptions) != 0;
  fpu.fsw = static_cast<uint16_t>(pending ? fpu.fsw | kSummary : fpu.fsw & ~kSummary);
}

void load_control_word(Core& core, uint16_t value) {
  constexpr uint16_t kAlwaysSet = 1 << 6, kMask = 0x1f7f;
  vm::Fpu& fpu = core.cpu.fpu;
  if (core.features.tcg) {
    fpu.fcw = value;
    fpu.fsw = static_cast<uint16_t>((fpu.fsw & ~kFswBusy) | ((fpu.fsw & kFswErrorSummary) != 0 ? kFswBusy : 0));
    return;
  }
  fpu.fcw = static_cast<uint16_t>((value & kMask) | kAlwaysSet);
  summarize_exceptions(fpu);
}

bool bind_x87(const Decoded& decoded, NativeArena& arena, Instruction& insn) {
  std::optional<uint16_t> use = x87_use(decoded.insn.mnemonic);
  if (!use || (insn.has_memory && (insn.memory_size == 0 || insn.memory_size > 10))) return false;
  insn.native = make_x87_stub(decoded, *use, arena);
  if (insn.native == nullptr) return false;
  insn.selector = *use;
  insn.immediate = static_cast<uint64_t>((decoded.insn.opcode & 7) << 8 | decoded.bytes[decoded.insn.raw.modrm.offset]);
  insn.run = run_x87;
  return true;
}

}  // namespace dejavm::soft
