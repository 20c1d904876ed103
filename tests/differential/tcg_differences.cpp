#include "tcg_differences.h"

#include <algorithm>
#include <cstring>

#include "engine/soft/native_ops.h"
#include "instruction_kinds.h"
#include "tcg_instructions.h"

namespace dejavm::differential {

bool Ends::alike() const {
  bool same = soft.kind == kvm.kind && soft.accesses == kvm.accesses && soft_ram == kvm_ram;
  return same && (kvm.kind == Outcome::Kind::shutdown || soft.state == kvm.state);
}

bool Ends::same_fault() const {
  return kvm.fault && soft.fault && kvm.fault->vector == soft.fault->vector && kvm.fault->address == soft.fault->address;
}

namespace {

constexpr uint64_t kStatusFlags = 0x8d5, kDebugCauses = 0xf000;

// ---- What soft's end takes over from KVM's. Each tells whether that changed it.

template <typename T>
bool take(T& to, const T& from) {
  if (to == from) return false;
  to = from;
  return true;
}

template <typename T>
bool take_bits(T& to, T from, uint64_t mask) {
  return take(to, static_cast<T>((to & ~mask) | (from & mask)));
}

/// In the register, and in the frame of the exception that ended the run.
bool take_flags(Ends& ends, uint64_t mask) {
  bool taken = take_bits(ends.soft.state.rflags, ends.kvm.state.rflags, mask);
  if (!ends.same_fault()) return taken;
  uint64_t at = frame_of(ends.mode, ends.kvm.state, ends.kvm.fault->vector) + 2 * (code_bits(ends.mode) / 8);
  for (uint64_t byte = at; byte < at + 3 && byte < kRamSize; ++byte) {
    if (take_bits(ends.soft_ram[byte], ends.kvm_ram[byte], mask >> 8 * (byte - at) & 0xff)) taken = true;
  }
  return taken;
}

/// All bytes of RAM that differ, where they lie within `size` bytes.
bool take_ram(Ends& ends, ptrdiff_t size) {
  auto [first_soft, first_kvm] = std::mismatch(ends.soft_ram.begin(), ends.soft_ram.end(), ends.kvm_ram.begin());
  if (first_soft == ends.soft_ram.end()) return false;
  auto last = std::mismatch(ends.soft_ram.rbegin(), ends.soft_ram.rend(), ends.kvm_ram.rbegin()).first.base();
  if (last - first_soft > size) return false;
  std::copy(first_kvm, first_kvm + (last - first_soft), first_soft);
  return true;
}

/// The bytes of RAM in the `size` below the stack pointer.
bool take_stack(Ends& ends, uint64_t size) {
  const vm::CpuState& state = ends.soft.state;
  uint64_t base = ends.mode == Mode::real16 ? state.segment[vm::ss].base : 0;
  uint64_t mask = ~uint64_t{0} >> (64 - code_bits(ends.mode));
  bool taken = false;
  for (uint64_t below = 1; below <= size; ++below) {
    uint64_t at = base + ((state.gpr[vm::rsp] - below) & mask);
    if (at < kRamSize && take(ends.soft_ram[at], ends.kvm_ram[at])) taken = true;
  }
  return taken;
}

template <typename Kind>
bool any(const Ends& ends, Kind kind) {
  return std::ranges::any_of(ends.test.instructions, kind);
}

/// The lanes of XMM registers that are NaNs on both.
bool take_nans(Ends& ends) {
  constexpr uint32_t kInfinity = 0x7f800000, kInfinityOfDouble = 0x7ff00000, kMagnitude = 0x7fffffff;
  bool taken = false;
  for (size_t i = 0; i < ends.soft.state.fpu.xmm.size(); ++i) {
    uint32_t kvm_lanes[4], soft_lanes[4];
    auto& xmm = ends.soft.state.fpu.xmm[i];
    std::memcpy(kvm_lanes, ends.kvm.state.fpu.xmm[i].data(), sizeof kvm_lanes);
    std::memcpy(soft_lanes, xmm.data(), sizeof soft_lanes);
    for (size_t lane = 0; lane < 4; ++lane) {
      bool single = (kvm_lanes[lane] & kMagnitude) > kInfinity && (soft_lanes[lane] & kMagnitude) > kInfinity;
      bool is_double = (kvm_lanes[lane | 1] & kInfinityOfDouble) == kInfinityOfDouble &&
                       (soft_lanes[lane | 1] & kInfinityOfDouble) == kInfinityOfDouble;
      if ((single || is_double) && take(soft_lanes[lane], kvm_lanes[lane])) taken = true;
    }
    std::memcpy(xmm.data(), soft_lanes, sizeof soft_lanes);
  }
  return taken;
}

/// Fractions of x87 registers, and whether they are exact, with a precision that is not the full one.
bool take_rounding(Ends& ends) {
  constexpr uint16_t kPrecision = 0x300, kReservedIsFull = 0x100;
  constexpr uint64_t kInexact = 1 << 5;
  vm::Fpu& fpu = ends.soft.state.fpu;
  const vm::Fpu& kvm = ends.kvm.state.fpu;
  if ((fpu.fcw & kPrecision) == kPrecision || (fpu.fcw & kPrecision) == kReservedIsFull) return false;
  bool taken = take_bits(fpu.fsw, kvm.fsw, kInexact);
  for (size_t i = 0; i < fpu.st.size(); ++i) {
    bool same_exponent = std::equal(fpu.st[i].begin() + 8, fpu.st[i].end(), kvm.st[i].begin() + 8);
    if (same_exponent && take(fpu.st[i], kvm.st[i])) taken = true;
  }
  return taken;
}

/// The registers that MIN and MAX write.
bool take_minima(Ends& ends) {
  bool taken = false;
  for (const RandomInstruction& random : ends.test.instructions) {
    if (!is_minimum_or_maximum(random)) continue;
    auto number = static_cast<size_t>(ZydisRegisterGetId(random.operands[0].reg.value));
    if (take(ends.soft.state.fpu.xmm[number], ends.kvm.state.fpu.xmm[number])) taken = true;
  }
  return taken;
}

/// But for what is written, as long as both make accesses.
bool only_written_values_differ(const std::vector<vm::Access>& kvm, const std::vector<vm::Access>& soft) {
  auto alike = [](vm::Access a, const vm::Access& b) {
    if (a.is_write()) a.value = b.value;
    return a == b;
  };
  return std::ranges::equal(kvm, soft, alike);
}

/// How many bytes of a selector are written; `soft` may have its upper half for itself, behind the end of a page.
bool only_sizes_of_selectors_differ(const std::vector<vm::Access>& kvm, std::vector<vm::Access> soft) {
  constexpr unsigned kSelector = 2;
  if (soft.size() == kvm.size() + 1) {
    auto half = std::ranges::find_if(soft, [](const vm::Access& access) {
      return access.is_write() && access.size == kSelector && access.value == 0 && access.addr % vm::kPageSize == 0;
    });
    if (half != soft.end()) soft.erase(half);
  }
  auto alike = [](vm::Access a, const vm::Access& b) {
    bool selectors = a.is_write() && b.is_write() && (a.size == kSelector || b.size == kSelector);
    if (selectors && (a.value & 0xffff) == (b.value & 0xffff)) {
      a.size = b.size;
      a.value = b.value;
    }
    return a == b;
  };
  return std::ranges::equal(kvm, soft, alike);
}

struct Known {
  const char* reason;
  bool (*take)(Ends& ends);
};

constexpr Known kKnown[] = {
    {"translate.c: the flags that an instruction computed before its access faults are taken for operands of those before",
     [](Ends& ends) {
       constexpr uint64_t kResume = 1 << 16;  // which KVM's emulator leaves where it refuses an instruction
       bool left = ends.did_not_finish() || !ends.kvm.accesses.empty();
       return left && take_flags(ends, kStatusFlags | kResume);
     }},
    {"decode-new.c.inc, disas_insn_new(): an MMX instruction whose device access KVM's emulator refuses has entered MMX "
     "mode",
     [](Ends& ends) {
       const RandomInstruction* last = ends.last();
       bool refused = ends.kvm.kind == Outcome::Kind::stopped && last != nullptr;
       if (!refused || !last->has_register(ZYDIS_REGCLASS_MMX)) return false;
       vm::Fpu fpu = ends.soft.state.fpu;
       soft::enter_mmx(fpu);
       return fpu == ends.kvm.state.fpu && take(ends.soft.state.fpu, fpu);
     }},
    {"fpu_helper.c: an x87 store sets its exceptions before KVM's emulator refuses the device access",
     [](Ends& ends) {
       constexpr uint64_t kExceptions = 0x80ff;
       bool refused = ends.did_not_finish() && is_x87(ends.last()) && stores(*ends.last());
       return refused && take_bits(ends.soft.state.fpu.fsw, ends.kvm.state.fpu.fsw, kExceptions);
     }},
    {"fpu_helper.c: operands of 10 bytes and more are accessed in an order of their own, which CR2 and the error code show",
     [](Ends& ends) {
       constexpr uint64_t kNear = 512;
       bool near = ends.kvm.state.cr2 - ends.soft.state.cr2 + kNear < 2 * kNear;
       bool faulted = ends.same_fault() && ends.kvm.fault->vector == kPageFault && is_x87(ends.last());
       if (!faulted || !near || !take(ends.soft.state.cr2, ends.kvm.state.cr2)) return false;
       uint64_t error = frame_of(ends.mode, ends.kvm.state, kPageFault) - code_bits(ends.mode) / 8;
       if (error < kRamSize) ends.soft_ram[error] = ends.kvm_ram[error];
       return true;
     }},
    {"fpu_helper.c: what of an operand of 10 bytes and more is stored before a page faults stays",
     [](Ends& ends) {
       const RandomInstruction* last = ends.same_fault() ? ends.last() : nullptr;
       return is_x87(last) && stores(*last) && take_ram(ends, last->operands[0].size / 8);
     }},
    {"KVM's emulator, which does the access to a device, faults as a write on the page behind it, TCG as a read",
     [](Ends& ends) {
       constexpr uint8_t kWrite = 1 << 1;
       const RandomInstruction* last = ends.same_fault() && ends.kvm.fault->vector == kPageFault ? ends.last() : nullptr;
       if (last == nullptr || !stores(*last) || ends.kvm.state.cr2 % vm::kPageSize != 0) return false;
       uint64_t error = frame_of(ends.mode, ends.kvm.state, kPageFault) - code_bits(ends.mode) / 8;
       return error < kRamSize && take_bits(ends.soft_ram[error], ends.kvm_ram[error], kWrite);
     }},
    {"KVM's emulator pushes for ENTER, to a device, what the stack's size is, whatever the operand's",
     [](Ends& ends) {
       bool emulated = any(ends, enters_with_prefix) && !ends.kvm.accesses.empty();
       if (!emulated || !take(ends.soft.accesses, ends.kvm.accesses)) return false;
       take(ends.soft.state.gpr[vm::rsp], ends.kvm.state.gpr[vm::rsp]);
       take(ends.soft.state.gpr[vm::rbp], ends.kvm.state.gpr[vm::rbp]);
       return true;
     }},
    {"KVM's emulator, where it does a locked CMPXCHG of 32 bits, keeps the upper half of RAX",
     [](Ends& ends) {
       constexpr uint64_t kUpperHalf = 0xffffffff00000000;
       return any(ends, is_locked_exchange_of_32_bits) &&
              take_bits(ends.soft.state.gpr[vm::rax], ends.kvm.state.gpr[vm::rax], kUpperHalf);
     }},
    {"translate.c: what is no flags has reserved ones, TF and VM as well",
     [](Ends& ends) {
       if (!ends.flags_are_none) return false;
       bool trapped = take_bits(ends.soft.state.dr6, ends.kvm.state.dr6, kDebugCauses);
       return take_flags(ends, ~uint64_t{0}) || trapped;
     }},
    {"translate.c: SHLD and SHRD by a constant take an address relative to RIP for one less; KVM's emulator does not",
     [](Ends& ends) {
       bool emulated = any(ends, is_relative_double_shift) && !ends.kvm.accesses.empty();
       if (!emulated || !take(ends.soft.accesses, ends.kvm.accesses)) return false;
       take_flags(ends, kStatusFlags);
       return true;
     }},
    {"KVM stops at an instruction whose page fault it cannot deliver to a stack in a device, and has set CR2",
     [](Ends& ends) { return ends.kvm.kind == Outcome::Kind::stopped && take(ends.soft.state.cr2, ends.kvm.state.cr2); }},
    {"fpu_helper.c, do_fstenv(): the pointers are of the instruction that ran last",
     [](Ends& ends) {
       constexpr ptrdiff_t kPointers = 16;
       return any(ends, moves_environment) && take_ram(ends, kPointers);
     }},
    {"translate.c: what an instruction that needs the flags does to a device leaves KVM's emulator with the wrong ones",
     [](Ends& ends) {
       bool values = any(ends, needs_flags) && only_written_values_differ(ends.kvm.accesses, ends.soft.accesses);
       return values && take(ends.soft.accesses, ends.kvm.accesses);
     }},
    {"translate.c: RET's number of bytes has a sign there; KVM's emulator, which reads a stack in a device, has none",
     [](Ends& ends) {
       bool emulated = any(ends, returns_far_up) && !ends.kvm.accesses.empty();
       return emulated && take(ends.soft.state.gpr[vm::rsp], ends.kvm.state.gpr[vm::rsp]);
     }},
    {"mem_helper.c: CMPXCHG8B leaves other flags than ZF as of operands before, and reserved ones",
     [](Ends& ends) {
       constexpr uint64_t kZf = 1 << 6;
       if (!any(ends, is_wide_exchange)) return false;
       bool traps = take_bits(ends.soft.state.dr6, ends.kvm.state.dr6, kDebugCauses);  // TF may be among them
       return take_flags(ends, ~kZf) || traps;
     }},
    {"BT behind a page that KVM maps: AF and OF are as at the start of a block of TCG (tcg_flags.h)",
     [](Ends& ends) {
       constexpr uint64_t kAfAndOf = 0x810;
       return any(ends, tests_bit) && take_flags(ends, kAfAndOf);
     }},
    {"softfloat-specialize.c.inc, pickNaN(): SSE's choice of two NaNs is that of the x87", take_nans},
    {"ops_sse.h: MIN and MAX give the operand that MXCSR.DAZ takes for zero as it is",
     [](Ends& ends) {
       constexpr uint32_t kDaz = 1 << 6;
       return (ends.test.state.fpu.mxcsr & kDaz) != 0 && take_minima(ends);
     }},
    {"KVM's emulator, which pushes where the stack is a device, writes 2 bytes of a selector",
     [](Ends& ends) {
       constexpr ptrdiff_t kUpperHalf = 2;  // also where that is in RAM
       if (!any(ends, pushes_segment) || ends.kvm.accesses.empty()) return false;
       bool accesses = only_sizes_of_selectors_differ(ends.kvm.accesses, ends.soft.accesses);
       bool taken = accesses && take(ends.soft.accesses, ends.kvm.accesses);
       return take_ram(ends, kUpperHalf) || taken;
     }},
    {"KVM's emulator writes 8 bytes of a selector where MOV to a device has REX.W",
     [](Ends& ends) {
       bool moves = any(ends, stores_selector) && only_sizes_of_selectors_differ(ends.kvm.accesses, ends.soft.accesses);
       return moves && take(ends.soft.accesses, ends.kvm.accesses);
     }},
    {"KVM stops at an instruction behind STI in the shadow, or behind it out of it, other than soft",
     [](Ends& ends) {
       bool shadow = ends.kvm.kind == Outcome::Kind::stopped &&
                     any(ends, [](const RandomInstruction& random) { return random.insn.mnemonic == ZYDIS_MNEMONIC_STI; });
       return shadow && take(ends.soft.state.interrupt_shadow, ends.kvm.state.interrupt_shadow);
     }},
    {"translate.c, gen_enter(): what ENTER has pushed stays where KVM's emulator then refuses to read a frame pointer",
     [](Ends& ends) {
       constexpr uint64_t kAllLevels = 33 * 8;
       const RandomInstruction* last = ends.kvm.kind == Outcome::Kind::stopped ? ends.last() : nullptr;
       return last != nullptr && last->insn.mnemonic == ZYDIS_MNEMONIC_ENTER && take_stack(ends, kAllLevels);
     }},
    {"KVM stops at an instruction whose exception it cannot deliver to a stack in a device; the frame is in RAM in part",
     [](Ends& ends) {
       constexpr uint64_t kFrame = 56;
       return ends.kvm.kind == Outcome::Kind::stopped && take_stack(ends, kFrame);
     }},
    {"fpu_helper.c: int32_to_floatx80() and float64_to_floatx80() round an operand in memory to the precision of the "
     "control word",
     [](Ends& ends) {
       return any(ends, [](const RandomInstruction& random) { return is_x87(&random) && random.accesses_memory(); }) &&
              take_rounding(ends);
     }},
    {"fpu_helper.c, do_fldenv(), do_frstor(): what is loaded before a read faults stays",
     [](Ends& ends) {
       const RandomInstruction* last = ends.did_not_finish() ? ends.last() : nullptr;
       return last != nullptr && moves_environment(*last) && take(ends.soft.state.fpu, ends.kvm.state.fpu);
     }},
    {"KVM's emulator, assign_eip(): where it does a jump it raises the #GP of a target that is not canonical at the jump",
     [](Ends& ends) {
       const RandomInstruction* jump = ends.kvm.fault && ends.soft.fault ? ends.last() : nullptr;
       bool jumps = jump != nullptr && jump->insn.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;
       uint64_t target = ends.soft.fault ? ends.soft.fault->address : 0;
       bool canonical = target + (uint64_t{1} << 47) < uint64_t{1} << 48;
       constexpr ptrdiff_t kFrameAndReturn = 64;  // of a call
       return code_bits(ends.mode) == 64 && jumps && !canonical && take_ram(ends, kFrameAndReturn);
     }},
    {"fpu_helper.c, helper_fprem_common(): no conditions of what is no number",
     [](Ends& ends) {
       constexpr uint64_t kConditions = 0x4700;
       return any(ends, is_partial_remainder) && take_bits(ends.soft.state.fpu.fsw, ends.kvm.state.fpu.fsw, kConditions);
     }},
    {"KVM's emulator, which goes past a HLT, does not where the code segment's limit is below it",
     [](Ends& ends) {
       constexpr uint64_t kLimit = 0xffff;
       bool behind = static_cast<uint32_t>(ends.kvm.state.rip + 1) == ends.soft.state.rip;
       bool beyond = ends.mode == Mode::real16 && ends.kvm.state.rip > kLimit;
       return behind && beyond && take(ends.soft.state.rip, ends.kvm.state.rip);
     }},
};

}  // namespace

std::vector<std::string> make_alike(Ends& ends) {
  std::vector<std::string> reasons;
  for (const Known& known : kKnown) {
    if (known.take(ends)) reasons.emplace_back(known.reason);
  }
  return reasons;
}

}  // namespace dejavm::differential
