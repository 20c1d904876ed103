#include "engine/soft/core.h"

#include <Zydis/Zydis.h>

#include "engine/soft/flags.h"
#include "engine/soft/operands.h"
#include "engine/soft/port_ops.h"
#include "engine/soft/translate/translator.h"

namespace dejavm::soft {
namespace {

constexpr uint64_t kDr7Enables = 0xff;
constexpr uint64_t kDr6SingleStep = 1u << 14;

/// Faults that make a double fault of a fault in the delivery of another (AMD64 APM volume 2, section 8.2.9).
bool contributory(uint8_t vector) {
  return vector == kDivideError || (vector >= kInvalidTss && vector <= kGeneralProtection);
}

bool makes_double_fault(uint8_t first, uint8_t second) {
  if (first == kPageFault) return second == kPageFault || contributory(second);
  return contributory(first) && contributory(second);
}

/// Instructions after which no single-step trap comes although TF was set before: they enter a handler with TF clear.
bool enters_handler(const Instruction& insn) {
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_INT:
    case ZYDIS_MNEMONIC_INT1:
    case ZYDIS_MNEMONIC_INT3:
    case ZYDIS_MNEMONIC_INTO:
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSENTER:
      return true;
    default:
      return false;
  }
}

bool loads_resume_flag(const Instruction& insn) {
  return insn.mnemonic == ZYDIS_MNEMONIC_IRET || insn.mnemonic == ZYDIS_MNEMONIC_IRETD ||
         insn.mnemonic == ZYDIS_MNEMONIC_IRETQ;
}

}  // namespace

Core::Core(vm::GuestMemory& guest_memory, const vm::CpuModel& cpu_model, ExecutablePool* pool)
    : memory(cpu, guest_memory, log, features),
      model(cpu_model),
      features(Features::of(cpu_model)),
      executable_pool(pool),
      blocks_(memory, features, pool) {
  state_changed();
}

Core::~Core() = default;

Status Core::translate(const TranslatorOptions& options) {
  TRY_ASSIGN(translator_, Translator::create(*this, options));
  translator_->set_breakpoints(breakpoints_);
  return {};
}

void Core::set_breakpoints(std::vector<uint64_t> addresses) {
  breakpoints_ = std::move(addresses);
  if (translator_) translator_->set_breakpoints(breakpoints_);
}

/// A hit that is still to be told is one of the watchpoints before.
void Core::set_watchpoints(std::vector<vm::Watchpoint> watchpoints) {
  watch_hit_.reset();
  memory.set_watchpoints(std::move(watchpoints));
}

void Core::set_state(const vm::CpuState& state) {
  cpu = state;
  log.clear();
  msr_.reset();
  delivery_.reset();
  halted_ = shut_down_ = repeating_ = false;
  watch_hit_.reset();
  frame.lazy_flags = kLazyUnknown;
  memory.watches().forget_hits();
  state_changed();
  memory.debug_registers_changed();
  memory.flush();
}

void Core::state_changed() {
  code_bits_ = cpu.code_bits();
  cpl_ = !protected_mode() ? 0 : virtual_8086() ? 3 : cpu.segment[vm::ss].dpl;
  for (unsigned i = 0; i < 6; ++i) {
    const vm::Segment& segment = cpu.segment[i];
    bool writable_data = segment.s != 0 && (segment.type & 0b1110) == 0b0010;  // data, grows up, writable
    bool plain = writable_data && segment.present != 0 && segment.unusable == 0;
    plain_size_[i] = features.tcg ? UINT64_MAX : plain ? uint64_t{segment.limit} + 1 : 0;
  }
  auto is_flat = [this](unsigned i) { return cpu.segment[i].base == 0 && cpu.segment[i].limit == UINT32_MAX; };
  bool flat_data = true;
  for (unsigned i : {vm::es, vm::ss, vm::ds}) flat_data = flat_data && is_flat(i) && plain_size_[i] != 0;
  flat_ = code_bits_ == 32 && is_flat(vm::cs) && flat_data && cpu.segment[vm::ss].db != 0;
  memory.mode_changed();
}

// ---- The run

vm::Exit Core::run(vm::RunMode mode) {
  if (shut_down_) return vm::Shutdown{};
  if (log.waiting_for() != nullptr) log.answer(0);
  if (msr_) msr_->answered = true;
  bool unfinished = in_progress();
  if (mode == vm::RunMode::complete) {
    if (!unfinished) return vm::Completed{};
    stop_at_ = steps + 1;
  } else {
    bool finishes_one = (!log.empty() || msr_) && !(delivery_ && !delivery_->counts);
    uint64_t one = steps + (finishes_one ? 2 : 1);  // an instruction that exited is finished first
    stop_at_ = mode == vm::RunMode::step ? one : std::max(step_limit, steps + 1);
  }
  bool on_breakpoint = !unfinished && at_breakpoint();
  for (bool first = true;; first = false) {
    bool delivered = false;
    try {
      if (mode == vm::RunMode::free) {
        if (auto exit = between_instructions()) return *exit;
        if (!(first && on_breakpoint) && !in_progress() && at_breakpoint()) {
          return vm::BreakpointHit{{cpu.linear_rip()}};
        }
      }
      if (delivery_) {
        deliver_pending();
        delivered = true;
      } else {
        if (!run_some()) return leave();
      }
    } catch (const GuestFault& fault) {
      take(fault);
    } catch (const LeaveForAnswer&) {
      return leave();
    }
    if (shut_down_) return vm::Shutdown{};
    if (memory.watches().hits().any()) take_watch_hits();
    if (delivery_) continue;
    if (std::exchange(halted_, false)) return vm::Halted{};
    if (watch_hit_) return *std::exchange(watch_hit_, std::nullopt);
    if (delivered && mode == vm::RunMode::complete) return vm::Completed{};
    if (mode != vm::RunMode::free && steps >= stop_at_) {
      return mode == vm::RunMode::step ? vm::Exit{vm::Stepped{}} : vm::Exit{vm::Completed{}};
    }
  }
}

std::optional<vm::Exit> Core::between_instructions() {
  if (in_progress()) return std::nullopt;
  if (kicked.load(std::memory_order_relaxed) && kicked.exchange(false, std::memory_order_relaxed)) return vm::Interrupted{};
  if (steps >= step_limit) return vm::StepLimit{};
  if (window_wanted && can_interrupt()) return vm::WindowOpen{};
  return std::nullopt;
}

bool Core::at_breakpoint() const {
  if (breakpoints_.empty() || !std::ranges::binary_search(breakpoints_, cpu.linear_rip())) return false;
  return awaits_here() ? awaited->gpr == cpu.gpr : !repeating_;
}

vm::Exit Core::leave() {
  memory.watches().forget_hits();  // the next attempt makes them again
  if (msr_ && !msr_->answered) return msr_->access;
  const vm::Access* access = log.waiting_for();
  CHECK(access != nullptr);
  return vm::DeviceAccess{*access, vm::GuestVirt{cpu.linear_rip()}, log.answered() > 0};
}

void Core::answer(uint64_t value) {
  if (msr_) {
    msr_->access.value = value;
  } else if (log.waiting_for() != nullptr) {
    log.answer(value);
  }
}

void Core::answer_fault() {
  if (msr_) msr_->fault = true;
}

uint64_t Core::exchange_msr(uint32_t index, bool write, uint64_t value) {
  if (!msr_) {
    msr_ = PendingMsr{{index, write, write ? value : 0}};
    throw LeaveForAnswer{};
  }
  if (msr_->fault) raise_gp();
  return msr_->access.value;
}

// ---- Instructions

bool Core::needs_care() const {
  return (cpu.rflags & (kTf | kRf)) != 0 || cpu.interrupt_shadow != 0 || breaks_on_execution() ||
         (code_bits_ != 64 && cpu.segment[vm::cs].limit != UINT32_MAX && !features.tcg);
}

/// False: the next instruction waits for an answer.
bool Core::run_some() {
  // What was abandoned is finished alone: behind it something may enter that could not enter before.
  bool alone = !log.empty() || msr_;
  log.rewind();
  bool careful = needs_care();
  bool translates = !careful && !alone && can_translate();
  if (translates) {
    Translator::Outcome outcome = translator_->run(stop_at_);
    if (outcome == Translator::Outcome::faulted) take(translator_->fault());
    if (outcome != Translator::Outcome::declined) {
      repeating_ = false;
      return outcome != Translator::Outcome::left;
    }
  }
  const Block& block = block_here();
  auto instructions = alone ? block.instructions.first(1) : block.instructions;
  if (careful || !breakpoints_.empty()) {
    run_carefully(instructions);
  } else if (features.tcg) {
    run_plainly<true>(instructions);
  } else {
    run_plainly<false>(instructions);
  }
  return true;
}

bool Core::can_translate() const {
  return translator_ && !in_progress() && !memory.checks_alignment() && (code_bits_ == 64 || flat_);
}

template <bool kLazy>
void Core::run_plainly(std::span<const Instruction> instructions) {
  uint64_t changes = memory.code().changes();
  for (const Instruction& insn : instructions) {
    if constexpr (kLazy) {
      execute_lazily(insn);
    } else {
      execute(insn);
    }
    if (steps >= stop_at_ || memory.code().changes() != changes) return;
  }
}

/// QEMU's TCG comes back to a REP whose last iteration is done, and interrupts enter there, too.
bool Core::is_awaited_behind(const Instruction& insn, uint64_t at, uint64_t count_before) const {
  if (insn.repeat == Repeat::none || awaited == nullptr || awaited->rip != at || cpu.rip == at) return false;
  bool last = cpu.gpr[vm::rcx] != count_before && truncate(cpu.gpr[vm::rcx], insn.address_size) == 0;
  return last && awaited->gpr == cpu.gpr && awaited->segment[vm::cs] == cpu.segment[vm::cs];
}

/// With everything that may come between two instructions: traps, breakpoints, the end of the code segment.
void Core::run_carefully(std::span<const Instruction> instructions) {
  uint64_t changes = memory.code().changes();
  bool first = true;
  for (const Instruction& insn : instructions) {
    if (!std::exchange(first, false) && at_breakpoint()) return;
    bool beyond = code_bits_ != 64 && cpu.rip + insn.length - 1 > cpu.segment[vm::cs].limit;
    if (beyond && !features.tcg) raise_gp();
    if (breaks_on_execution() && log.empty()) check_instruction_breakpoints();
    uint64_t at = cpu.rip, flags_before = cpu.rflags, count_before = cpu.gpr[vm::rcx];
    uint8_t shadow_before = std::exchange(cpu.interrupt_shadow, uint8_t{0});
    shadow_ends_ = shadow_before != 0;
    try {
      if (features.tcg) {
        execute_lazily(insn);
        if (shadow_before != 0 || (flags_before & kTf) != 0) frame.lazy_flags = kLazyUnknown;  // a block of its own
      } else {
        execute(insn);
      }
    } catch (...) {
      cpu.interrupt_shadow = shadow_before;
      shadow_ends_ = false;
      throw;
    }
    if (features.tcg && is_awaited_behind(insn, at, count_before)) cpu.rip = at;
    bool look_up = std::exchange(shadow_ends_, false);  // an interrupt may enter from here on
    repeating_ = insn.repeat != Repeat::none && cpu.rip == at;
    if ((flags_before & kRf) != 0 && !loads_resume_flag(insn)) cpu.rflags &= ~kRf;
    raise_debug_traps(insn, flags_before);
    if (look_up || steps >= stop_at_ || cpu.interrupt_shadow != 0 || memory.code().changes() != changes) return;
  }
}

inline void Core::execute(const Instruction& insn) {
  uint64_t behind = cpu.rip + insn.length;
  next_rip = code_bits_ == 64 ? behind : static_cast<uint32_t>(behind);
  if (insn.transactional) {
    execute_transaction(insn);
  } else {
    insn.run(*this, insn);
  }
  if (!log.empty()) log.clear();
  if (msr_) msr_.reset();
  cpu.rip = next_rip;
  ++steps;
}

/// With CpuKind::tcg: what it knows of the flags ends with its block, and with an exit.
void Core::execute_lazily(const Instruction& insn) {
  uint64_t first = cpu.linear_rip(), behind = first + insn.length;
  bool exits = !log.empty() || msr_.has_value();
  bool crosses = (first ^ (behind - 1)) / vm::kPageSize != 0;
  if (exits || crosses) frame.lazy_flags = kLazyUnknown;
  execute(insn);
  bool ends = exits || crosses || behind % vm::kPageSize == 0;
  frame.lazy_flags = ends ? kLazyUnknown : after(insn.lazy_effect, frame.lazy_flags);
}

bool Core::execute_one(const Instruction& insn) {
  if (insn.mnemonic == ZYDIS_MNEMONIC_IN || insn.mnemonic == ZYDIS_MNEMONIC_OUT) {
    // What most accesses of devices are need no exception.
    if (auto access = port_access(*this, insn)) {
      log.leave_for(*access);
      return false;
    }
  }
  if (features.tcg) {
    execute_lazily(insn);
  } else {
    execute(insn);
  }
  return true;
}

void Core::execute_transaction(const Instruction& insn) {
  vm::CpuState before = cpu;
  try {
    insn.run(*this, insn);
  } catch (...) {
    before.cr2 = cpu.cr2;
    bool other_tables = before.cr0 != cpu.cr0 || before.cr3 != cpu.cr3 || before.cr4 != cpu.cr4 || before.efer != cpu.efer;
    cpu = before;
    state_changed();
    if (other_tables) memory.flush();
    throw;
  }
}

// ---- Exceptions and interrupts

/// The breakpoint address registers that wait for instructions; those that wait for data are looked after in Watches.
bool Core::breaks_on_execution(unsigned i) const {
  return (cpu.dr7 >> 2 * i & 3) != 0 && (cpu.dr7 >> (16 + 4 * i) & 3) == 0;
}

bool Core::breaks_on_execution() const {
  if ((cpu.dr7 & kDr7Enables) == 0) return false;
  return breaks_on_execution(0) || breaks_on_execution(1) || breaks_on_execution(2) || breaks_on_execution(3);
}

void Core::check_instruction_breakpoints() {
  if ((cpu.rflags & kRf) != 0) return;
  uint64_t hit = 0;
  for (unsigned i = 0; i < 4; ++i) {
    if (breaks_on_execution(i) && cpu.dr[i] == cpu.linear_rip()) hit |= uint64_t{1} << i;
  }
  if (hit == 0) return;
  cpu.dr6 = (cpu.dr6 & ~uint64_t{0xf}) | hit;
  raise(kDebug);
}

void Core::raise_debug_traps(const Instruction& insn, uint64_t flags_before) {
  if ((flags_before & kTf) == 0 || enters_handler(insn) || cpu.interrupt_shadow == 2) return;
  cpu.dr6 |= kDr6SingleStep;
  throw GuestFault{kDebug, std::nullopt, true};
}

/// What was just completed, an instruction or the delivery of an event, hit something. The debugger hears of it when the
/// guest is between two instructions again, the guest by a debug trap, which joins a single-step trap.
void Core::take_watch_hits() {
  Watches::Hits hits = memory.watches().take_hits();
  if (!watch_hit_) watch_hit_ = hits.watchpoint;
  if (hits.debug_bits == 0) return;
  if ((hits.debug_bits & Watches::kBreakpoints) != 0) cpu.dr6 &= ~Watches::kBreakpoints;
  cpu.dr6 |= hits.debug_bits;
  bool behind_mov_ss = cpu.interrupt_shadow == 2;
  if (!delivery_ && !behind_mov_ss) take({kDebug, std::nullopt, true});
}

/// The instruction at cpu.rip has not happened (a trap: has happened, and cpu.rip is behind it). The exception's delivery
/// begins. Instead of an instruction it counts as a step, so that a guest which only faults comes to an end. A trap belongs
/// to its instruction, which has counted, and what fails in the delivery of an interrupt to that.
void Core::take(const GuestFault& fault) {
  if (!fault.trap) memory.watches().forget_hits();
  log.clear();
  msr_.reset();
  halted_ = false;
  bool error_code = fault.error_code.has_value() && protected_mode();
  bool counts = delivery_ ? delivery_->counts : !fault.trap;
  Delivery next{EventKind::exception, fault.vector, error_code ? fault.error_code : std::nullopt, cpu.rip, counts};
  if (delivery_ && !fault.trap) {
    next.return_rip = delivery_->return_rip;
    bool while_exception = delivery_->kind == EventKind::exception;
    if (while_exception && delivery_->vector == kDoubleFault) {
      shut_down_ = true;
      delivery_.reset();
      return;
    }
    if (while_exception && makes_double_fault(delivery_->vector, fault.vector)) {
      next.vector = kDoubleFault;
      next.error_code = protected_mode() ? std::optional<uint32_t>(0) : std::nullopt;
    }
  }
  delivery_ = next;
}

void Core::deliver_pending() {
  log.rewind();
  vm::CpuState before = cpu;
  try {
    deliver(*this, delivery_->kind, delivery_->vector, delivery_->error_code, delivery_->return_rip);
  } catch (...) {
    before.cr2 = cpu.cr2;
    bool other_tables = before.cr3 != cpu.cr3;
    cpu = before;
    state_changed();
    if (other_tables) memory.flush();
    throw;
  }
  if (delivery_->kind == EventKind::exception && delivery_->vector == kDebug) memory.watches().forget_debug_hits();
  if (delivery_->counts) ++steps;
  if (delivery_->kind == EventKind::nmi) cpu.nmi_masked = 1;
  cpu.interrupt_shadow = 0;
  frame.lazy_flags = kLazyUnknown;
  repeating_ = false;
  log.clear();
  delivery_.reset();
}

}  // namespace dejavm::soft
