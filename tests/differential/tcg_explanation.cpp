#include "tcg_explanation.h"

#include <algorithm>
#include <cstring>

#include "instruction_kinds.h"
#include "tcg_instructions.h"

namespace dejavm::differential {
namespace {

constexpr uint8_t kX87Fault = 16;

/// An exception that KVM's emulator raises where TCG does not. `random`: null where the fetch raised it.
struct Raised {
  const char* reason;
  bool (*raises)(Mode mode, const Outcome& kvm, const RandomInstruction* random);
};

constexpr Raised kRaised[] = {
    {"TCG checks no limit and no type of a segment; KVM's emulator, which does the access to a device or the fetch, does",
     [](Mode mode, const Outcome& kvm, const RandomInstruction*) {
       uint8_t vector = kvm.fault->vector;
       return code_bits(mode) != 64 && (vector == kGeneralProtection || vector == kStackFault);
     }},
    {"KVM's emulator raises #UD for MOV of a segment register with REX.R, where it does the access to a device",
     [](Mode, const Outcome& kvm, const RandomInstruction* random) {
       return kvm.fault->vector == kInvalidOpcode && random != nullptr && moves_segment_with_rex_r(*random);
     }},
    {"KVM's emulator raises the #MF that TCG does not, before it accesses a device for an MMX instruction",
     [](Mode, const Outcome& kvm, const RandomInstruction* random) {
       return kvm.fault->vector == kX87Fault && random != nullptr && random->has_register(ZYDIS_REGCLASS_MMX);
     }},
    {"TCG raises the page fault of the bytes that are canonical before the #GP of those behind them",
     [](Mode mode, const Outcome& kvm, const RandomInstruction*) {
       constexpr uint64_t kEnd = uint64_t{1} << 47, kOperand = 64;
       return code_bits(mode) == 64 && kvm.fault->vector == kPageFault && kEnd - kvm.state.cr2 <= kOperand;
     }},
    {"KVM's emulator, which does the access to a device, wants 16 bytes aligned that TCG takes anywhere",
     [](Mode, const Outcome& kvm, const RandomInstruction* random) {
       return kvm.fault->vector == kGeneralProtection && random != nullptr && random->has_register(ZYDIS_REGCLASS_XMM) &&
              random->accesses_memory();
     }},
};

/// `values`: also in what is written.
bool begins_with(const std::vector<vm::Access>& accesses, const std::vector<vm::Access>& first, bool values) {
  auto same = [&](vm::Access a, const vm::Access& b) {
    if (!values && a.is_write()) a.value = b.value;
    return a == b;
  };
  return accesses.size() >= first.size() && std::equal(first.begin(), first.end(), accesses.begin(), same);
}

/// KVM's end as it was before it delivered its exception: what that changes is soft's, which stands in front of it.
Outcome undelivered(const Outcome& kvm, const Outcome& soft) {
  constexpr uint64_t kSystem = ~uint64_t{0x8d5 | 0x400};
  Outcome before = kvm;
  before.kind = soft.kind;
  before.fault.reset();
  before.accesses = soft.accesses;
  vm::CpuState& state = before.state;
  state.rip = soft.state.rip;
  state.gpr[vm::rsp] = soft.state.gpr[vm::rsp];
  state.segment[vm::cs] = soft.state.segment[vm::cs];
  state.segment[vm::ss] = soft.state.segment[vm::ss];
  state.rflags = (state.rflags & ~kSystem) | (soft.state.rflags & kSystem);
  state.interrupt_shadow = soft.state.interrupt_shadow;
  if (kvm.fault->vector == kPageFault) state.cr2 = soft.state.cr2;
  return before;
}

size_t frame_size(Mode mode) {
  switch (mode) {
    case Mode::real16:
      return 6;
    case Mode::flat32:
      return 12;
    default:
      return 40;
  }
}

/// The frame, and the error code in front of it.
void undo_frame(Mode mode, const Outcome& kvm, std::vector<uint8_t>& kvm_ram, const std::vector<uint8_t>& soft_ram) {
  const vm::CpuState& state = kvm.state;
  bool real = mode == Mode::real16;
  uint64_t base = real ? state.segment[vm::ss].base : 0, top = state.gpr[vm::rsp];
  uint64_t size = real ? frame_size(mode) : frame_of(mode, state, kvm.fault->vector) - top + frame_size(mode);
  for (uint64_t i = 0; i < size; ++i) {
    uint64_t at = base + (real ? static_cast<uint16_t>(top + (i & ~1u)) + (i & 1) : top + i);  // no word wraps
    if (at < kRamSize) kvm_ram[at] = soft_ram[at];
  }
}

}  // namespace

std::vector<uint8_t> TcgExplanation::ram(Engine engine) const {
  return std::vector<uint8_t>(guests_.ram(engine), guests_.ram(engine) + kRamSize);
}

void TcgExplanation::prepare() {
  guests_.reset_soft();
  for (const Patch& patch : test_.patches) guests_.write_soft(patch.gpa, patch.bytes);
}

TcgExplanation::Reasons TcgExplanation::reasons(const Outcome& soft) {
  if (soft.kind != Outcome::Kind::failed) {
    if (auto found = made_alike(kvm_, ram(Engine::kvm), soft)) return found;
  }
  if (auto found = raised_by_emulator(soft)) return found;
  if (auto found = no_fault(soft)) return found;
  if (auto found = lost_exception(soft)) return found;
  if (auto found = wrong_stack()) return found;
  if (auto found = strayed_access(soft)) return found;
  return other_flags();
}

TcgExplanation::Reasons TcgExplanation::made_alike(const Outcome& kvm, const std::vector<uint8_t>& kvm_ram,
                                                   const Outcome& soft, Flags flags) {
  Ends ends{.test = test_,
            .mode = guests_.image().mode,
            .kvm = kvm,
            .kvm_ram = kvm_ram,
            .soft = soft,
            .soft_ram = ram(Engine::interpreter),
            .flags_are_none = flags == Flags::none};
  std::vector<std::string> reasons = make_alike(ends);
  if (!ends.alike()) return std::nullopt;
  return reasons;
}

/// Soft's end in front of the instruction at `at`, when it first comes up.
std::optional<Outcome> TcgExplanation::in_front_of(uint64_t at) {
  if (at == test_.code) {
    Outcome start;
    start.kind = Outcome::Kind::stopped;
    start.state = test_.state;
    prepare();
    return start;
  }
  auto there = run(at);
  return there && there->kind == Outcome::Kind::stopped ? there : std::nullopt;
}

/// The case once more, with the change, from RAM as it was.
std::optional<Outcome> TcgExplanation::run(std::optional<uint64_t> stop) {
  prepare();
  if (!change_) return guests_.run_soft(Engine::interpreter, test_.state, stop);
  return guests_.run_changed(test_.state, stop, change_->at, [&](vm::CpuState& state) { state.rflags ^= change_->flags; });
}

/// Soft's end in front of the iteration of a REP string instruction that raised KVM's exception: it does those before.
std::optional<Outcome> TcgExplanation::behind_iterations(const RandomInstruction& random) {
  uint64_t at = kvm_.fault->address, left = kvm_.state.gpr[vm::rcx];
  bool none = false;
  prepare();
  auto outcome = guests_.run_changed(test_.state, at + random.length(), at, [&](vm::CpuState& state) {
    none = state.gpr[vm::rcx] == left;
    state.gpr[vm::rcx] -= left;
  });
  if (none) return in_front_of(at);
  if (!outcome || outcome->kind != Outcome::Kind::stopped) return std::nullopt;
  outcome->state.gpr[vm::rcx] += left;
  return outcome;
}

TcgExplanation::Reasons TcgExplanation::raised_by_emulator(const Outcome& soft) {
  if (!kvm_.fault) return std::nullopt;
  // Where soft fetched from no memory the fault's address is cut to 16 bits, which may be an instruction's.
  if (soft.kind == Outcome::Kind::failed) {
    if (auto found = raised_by_emulator(soft, nullptr)) return found;
  }
  const RandomInstruction* random = test_.at(kvm_.fault->address);
  return random != nullptr ? raised_by_emulator(soft, random) : std::nullopt;
}

/// `random`: the instruction whose access raised it; null: the fetch.
TcgExplanation::Reasons TcgExplanation::raised_by_emulator(const Outcome& soft, const RandomInstruction* random) {
  for (const Raised& raised : kRaised) {
    if (!raised.raises(guests_.image().mode, kvm_, random)) continue;
    Outcome there = soft;  // which failed where there is nothing to fetch
    if (random != nullptr) {
      auto stopped = repeats(*random) ? behind_iterations(*random) : in_front_of(kvm_.fault->address);
      if (!stopped) continue;
      there = std::move(*stopped);
    }
    // The instruction may have made some of its accesses. What KVM's emulator wrote may come from what is no flags.
    bool values = std::ranges::none_of(test_.instructions, needs_flags);
    if (!begins_with(kvm_.accesses, there.accesses, values) || !begins_with(soft.accesses, kvm_.accesses, values)) continue;
    std::vector<uint8_t> kvm_ram = ram(Engine::kvm);
    undo_frame(guests_.image().mode, kvm_, kvm_ram, ram(Engine::interpreter));
    auto others = made_alike(undelivered(kvm_, there), kvm_ram, there);
    if (!others) continue;
    others->insert(others->begin(), raised.reason);
    return others;
  }
  return std::nullopt;
}

std::optional<uint64_t> TcgExplanation::stop() const {
  if (kvm_.kind != Outcome::Kind::stopped) return std::nullopt;
  return kvm_.state.linear_rip();
}

/// TCG goes on where soft raises #GP for reserved bits of MXCSR: soft goes on behind it with what KVM's x87 and SSE have.
TcgExplanation::Reasons TcgExplanation::no_fault(const Outcome& soft) {
  constexpr uint32_t kNotReserved = 0xffff;
  const RandomInstruction* random = soft.fault ? test_.at(soft.fault->address) : nullptr;
  if (random == nullptr || soft.fault->vector != kGeneralProtection || !loads_mxcsr(*random)) return std::nullopt;
  prepare();
  auto outcome = guests_.run_changed(test_.state, stop(), soft.fault->address, [&](vm::CpuState& state) {
    state.fpu = kvm_.state.fpu;
    state.fpu.mxcsr &= kNotReserved;
    state.rip += random->length();
  });
  if (!outcome) return std::nullopt;
  outcome->state.fpu = kvm_.state.fpu;
  auto others = made_alike(kvm_, ram(Engine::kvm), *outcome);
  if (others) others->insert(others->begin(), "fpu_helper.c, helper_ldmxcsr(), do_fxrstor(): reserved bits are no #GP");
  return others;
}

/// Soft raises #UD for a prefetch of a register as TCG does, and its frame goes to a device: there KVM's emulator, to which
/// a prefetch of a register is one, does the instruction instead, and nothing is left of the exception.
TcgExplanation::Reasons TcgExplanation::lost_exception(const Outcome& soft) {
  bool in_device = soft.fault && soft.fault->vector == kInvalidOpcode && !soft.accesses.empty();
  if (!in_device) return std::nullopt;
  uint64_t at = soft.accesses.back().value;  // what is pushed last
  const RandomInstruction* random = test_.at(at);
  if (random == nullptr) return std::nullopt;
  prepare();
  auto outcome = guests_.run_changed(test_.state, stop(), at, [&](vm::CpuState& state) { state.rip += random->length(); });
  if (!outcome || outcome->kind == Outcome::Kind::failed) return std::nullopt;
  // What of the frame is in RAM may be there.
  constexpr uint64_t kFrame = 48;
  std::vector<uint8_t> kvm_ram = ram(Engine::kvm), interpreted = ram(Engine::interpreter);
  for (uint64_t byte = soft.state.gpr[vm::rsp], end = byte + kFrame; byte != end; ++byte) {
    uint64_t there = code_bits(guests_.image().mode) == 64 ? byte : static_cast<uint32_t>(byte);
    if (there < kRamSize) kvm_ram[there] = interpreted[there];
  }
  auto others = made_alike(kvm_, kvm_ram, *outcome);
  if (others) others->insert(others->begin(), "KVM's emulator does an instruction whose #UD has its frame in a device");
  return others;
}

/// CALL, PUSH and POP of memory make two accesses; where the second has the offset in its page of the first, which went to a
/// device, KVM makes it there, and behind it anything may differ.
TcgExplanation::Reasons TcgExplanation::strayed_access(const Outcome& soft) {
  bool two = std::ranges::any_of(test_.instructions, [](const RandomInstruction& random) {
    auto mnemonic = random.insn.mnemonic;
    bool stack = mnemonic == ZYDIS_MNEMONIC_CALL || mnemonic == ZYDIS_MNEMONIC_PUSH || mnemonic == ZYDIS_MNEMONIC_POP;
    return stack && random.accesses_memory();
  });
  auto [kvm, unused] = std::mismatch(kvm_.accesses.begin(), kvm_.accesses.end(), soft.accesses.begin(), soft.accesses.end());
  if (!two || kvm == kvm_.accesses.begin() || kvm == kvm_.accesses.end()) return std::nullopt;
  if ((kvm->addr ^ std::prev(kvm)->addr) % vm::kPageSize != 0) return std::nullopt;
  return std::vector<std::string>{
      "KVM, emulator_can_use_gpa(): the second access at the same offset of a page goes to the device of the first"};
}

/// Behind a PUSHA or POPA whose stack is a device anything may differ; up to there nothing does.
TcgExplanation::Reasons TcgExplanation::wrong_stack() {
  uint64_t at = test_.code;
  for (const RandomInstruction& random : test_.instructions) {
    auto there = moves_all(random) ? in_front_of(at) : std::nullopt;
    at += random.length();
    if (!there || kvm_.accesses.size() <= there->accesses.size()) continue;
    auto same_address = [](const vm::Access& a, const vm::Access& b) { return a.addr == b.addr; };
    if (!std::equal(there->accesses.begin(), there->accesses.end(), kvm_.accesses.begin(), same_address)) continue;
    constexpr uint32_t kAllRegisters = 32;
    const vm::CpuState& state = there->state;
    uint64_t stack = state.gpr[vm::rsp] + (guests_.image().mode == Mode::real16 ? state.segment[vm::ss].base : 0);
    auto distance = static_cast<uint32_t>(kvm_.accesses[there->accesses.size()].addr - stack);
    if (distance + kAllRegisters > 2 * kAllRegisters) continue;
    return std::vector<std::string>{"KVM's emulator gets PUSHA and POPA wrong on a device"};
  }
  return std::nullopt;
}

TcgExplanation::Reasons TcgExplanation::other_flags() {
  uint64_t at = test_.code;
  for (const RandomInstruction& random : test_.instructions) {
    if (auto found = changed_flags(random, at)) return found;
    at += random.length();
  }
  return std::nullopt;
}

/// Soft with every value of the status flags in front of an instruction that needs them: with one of them it has to do what
/// KVM did.
TcgExplanation::Reasons TcgExplanation::changed_flags(const RandomInstruction& random, uint64_t at) {
  OtherFlags other = other_flags_before(random);
  if (other.reason == nullptr) return std::nullopt;
  Reasons found;
  // Every set of the flags once: counting in the bits of the mask alone.
  for (uint64_t flags = other.flags;; flags = (flags - 1) & other.flags) {
    change_ = Change{at, flags};
    found = with_change(other.none ? Flags::none : Flags::sound);
    if (found || flags == 0) break;
  }
  change_.reset();
  if (found) found->insert(found->begin(), other.reason);
  return found;
}

TcgExplanation::Reasons TcgExplanation::with_change(Flags flags) {
  auto outcome = run(stop());
  if (!outcome) return std::nullopt;
  if (outcome->kind != Outcome::Kind::failed) {
    if (auto found = made_alike(kvm_, ram(Engine::kvm), *outcome, flags)) return found;
  }
  return raised_by_emulator(*outcome);
}

}  // namespace dejavm::differential
