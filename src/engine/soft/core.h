// The software CPU: state, memory and the loop that runs instructions. SoftVcpu (soft_vcpu.h) is its face to the outside.
//
// How an instruction runs. cpu.rip is its address. The loop sets next_rip behind it and calls its handler. When the handler
// returns, rip = next_rip and the instruction has counted one step (a REP string instruction: one step an iteration, rip
// stays while iterations are left). When the handler throws, the instruction has not happened:
//  - GuestFault: the exception is delivered with rip as it was (faults) or next_rip (traps);
//  - LeaveForAnswer: run() returns, and after the answer the instruction starts again and finds it in `log`.
// So handlers access memory first and change registers last, or are marked Instruction::transactional.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/soft/access_log.h"
#include "engine/soft/block_cache.h"
#include "engine/soft/fault.h"
#include "engine/soft/features.h"
#include "engine/soft/instruction.h"
#include "engine/soft/interrupt_delivery.h"
#include "engine/soft/linear_memory.h"
#include "engine/soft/translate/code_frame.h"
#include "engine/soft/translate/translator_options.h"
#include "vm/cpu_model.h"
#include "vm/cpu_state.h"
#include "vm/untrapped.h"
#include "vm/vcpu.h"

namespace dejavm::soft {

class ExecutablePool;
class Translator;

class Core {
 public:
  /// `pool`: where executable memory comes from, and outlives the Core; null: from the host.
  Core(vm::GuestMemory& guest_memory, const vm::CpuModel& cpu_model, ExecutablePool* pool = nullptr);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  /// From now on most code runs as host code (translate/translator.h); nothing but the speed changes. Fails where the host
  /// gives no memory for it.
  Status translate(const TranslatorOptions& options = {});

  // ---- What instruction handlers work on.

  vm::CpuState cpu = vm::reset_state();
  uint64_t next_rip = 0;
  AccessLog log;
  LinearMemory memory;
  const vm::CpuModel& model;
  const Features features;
  ExecutablePool* const executable_pool;

  /// 16, 32 or 64: the code that runs; follows CS, CR0 and EFER.
  unsigned code_bits() const { return code_bits_; }
  /// 0 in real mode, 3 in virtual-8086 mode, else the DPL of SS.
  unsigned cpl() const { return cpl_; }
  bool protected_mode() const { return (cpu.cr0 & 1) != 0; }
  bool virtual_8086() const { return (cpu.rflags & (1u << 17)) != 0 && protected_mode(); }
  /// Real or virtual-8086: segments are selector * 16.
  bool segments_are_shifted() const { return !protected_mode() || virtual_8086(); }
  bool long_mode_active() const { return (cpu.efer & (1u << 10)) != 0; }
  /// Call after any change of CS, SS or another segment register, CR0, CR4, EFER, RFLAGS.VM or RFLAGS.AC. Cheap. A change of
  /// paging also wants memory.flush().
  void state_changed();

  /// Where an access of `size` bytes at `offset` of a segment lies, after the checks of limit, type and canonical form;
  /// raises #GP(0), or #SS(0) for SS.
  uint64_t linear(vm::SegmentName segment, uint64_t offset, size_t size, bool write) {
    if (code_bits_ == 64) {
      uint64_t address = segment >= vm::fs ? offset + cpu.segment[segment].base : offset;
      if (!canonical(address) || !canonical(address + size - 1))
        raise(segment == vm::ss && !features.tcg ? kStackFault : kGeneralProtection, 0);
      return address;
    }
    if (offset + size > plain_size_[segment]) check_segment(segment, offset, size, write);
    return static_cast<uint32_t>(cpu.segment[segment].base + offset);
  }
  static bool canonical(uint64_t address) {
    return static_cast<uint64_t>(static_cast<int64_t>(address << 16) >> 16) == address;
  }

  /// RDMSR and WRMSR of registers that the engine does not keep: leaves with vm::MsrAccess, raises #GP when told so.
  uint64_t exchange_msr(uint32_t index, bool write, uint64_t value);

  /// HLT: the run ends after this instruction.
  void halt() { halted_ = true; }

  /// How many iterations a REP string instruction may do in one call (at least 1). It adds to `steps` those beyond the
  /// first.
  uint64_t iterations_allowed() const {
    return shadow_ends_ || awaits_here() ? 1 : std::min(stop_at_ - steps, kIterationsAtOnce);
  }
  static constexpr uint64_t kIterationsAtOnce = 4096;  // so that a kick is seen soon
  /// Steps since the vCPU was made.
  uint64_t steps = 0;

  /// RDTSC: a pure function of the steps.
  uint64_t time_stamp() const { return steps; }

  /// RDTSC and its like that the guest executed (vm::Vcpu::untrapped_reads()).
  vm::UntrappedReads untrapped_reads;
  /// The present instruction is one. `refused`: it raises #UD.
  void note_untrapped(vm::UntrappedKind kind, bool refused = false) {
    untrapped_reads.note({{cpu.linear_rip()}, static_cast<uint8_t>(cpl_), kind, refused, steps});
  }

  // ---- What translated code and its Translator work on.

  CodeFrame frame;
  /// Runs the instruction at cpu.rip; it may throw. False: it waits for an answer.
  bool execute_one(const Instruction& insn);
  /// Between two instructions of translated code: whether the next may be translated code, too.
  bool can_go_on() const {
    return !needs_care() && can_translate() && !halted_ && !(window_wanted && can_interrupt()) &&
           !memory.watches().hits().any() && !at_breakpoint();
  }
  uint64_t block_cache_clears() const { return blocks_.clears(); }
  /// The block at cpu.rip (BlockCache::lookup()).
  const Block& block_here() { return blocks_.lookup(cpu.linear_rip(), code_bits_); }

  // ---- What SoftVcpu works on.

  /// Runs as vm::Vcpu::run() says.
  vm::Exit run(vm::RunMode mode);
  void answer(uint64_t value);
  void answer_fault();
  void set_state(const vm::CpuState& state);

  std::atomic<bool> kicked{false};
  bool window_wanted = false;
  const vm::CpuState* awaited = nullptr;  ///< vm::Vcpu::await()
  /// Linear addresses, sorted.
  void set_breakpoints(std::vector<uint64_t> addresses);
  void set_watchpoints(std::vector<vm::Watchpoint> watchpoints);
  uint64_t step_limit = UINT64_MAX;  ///< a free run ends with StepLimit when `steps` reaches it

  bool can_interrupt() const {
    return (cpu.rflags & vm::kRflagsIf) != 0 && cpu.interrupt_shadow == 0 && !in_progress() && !shut_down_;
  }
  /// Queues an interrupt or NMI: its frame is pushed at the start of the next run.
  void inject(EventKind kind, uint8_t vector) { delivery_ = Delivery{kind, vector, std::nullopt, cpu.rip, false}; }
  bool injection_pending() const { return delivery_.has_value(); }

 private:
  struct PendingMsr {
    vm::MsrAccess access;
    bool answered = false;
    bool fault = false;
  };

  /// An exception, interrupt or NMI on its way to its handler.
  struct Delivery {
    EventKind kind = EventKind::exception;
    uint8_t vector = 0;
    std::optional<uint32_t> error_code;
    uint64_t return_rip = 0;
    bool counts = false;  ///< as a step: an exception that comes instead of an instruction
  };

  bool in_progress() const { return !log.empty() || msr_ || delivery_; }
  bool at_breakpoint() const;
  /// Also between the iterations of a REP, where interrupts enter, too.
  bool awaits_here() const { return awaited != nullptr && awaited->linear_rip() == cpu.linear_rip(); }
  bool is_awaited_behind(const Instruction& insn, uint64_t at, uint64_t count_before) const;
  std::optional<vm::Exit> between_instructions();
  bool run_some();
  bool can_translate() const;
  template <bool kLazy>
  void run_plainly(std::span<const Instruction> instructions);
  void run_carefully(std::span<const Instruction> instructions);
  bool needs_care() const;
  void execute(const Instruction& insn);
  void execute_lazily(const Instruction& insn);
  void execute_transaction(const Instruction& insn);
  void raise_debug_traps(const Instruction& insn, uint64_t flags_before);
  bool breaks_on_execution(unsigned i) const;
  bool breaks_on_execution() const;
  void check_instruction_breakpoints();
  void take_watch_hits();
  void take(const GuestFault& fault);
  void deliver_pending();
  vm::Exit leave();
  void check_segment(vm::SegmentName segment, uint64_t offset, size_t size, bool write);

  unsigned code_bits_ = 16;
  unsigned cpl_ = 0;
  std::array<uint64_t, 6> plain_size_{};  // offsets below may be read and written without a look at the descriptor
  std::vector<uint64_t> breakpoints_;
  bool flat_ = false;  // 32-bit code in segments that begin at 0 and end at 4 GiB (but FS and GS)
  BlockCache blocks_;
  std::unique_ptr<Translator> translator_;  // null: interpret only
  bool halted_ = false;
  bool shut_down_ = false;
  bool shadow_ends_ = false;  // the present instruction is the one behind STI or MOV SS
  bool repeating_ = false;  // between iterations of a string instruction (kept while there are breakpoints): no new arrival
  uint64_t stop_at_ = UINT64_MAX;  // of the present run: no step beyond this count
  std::optional<PendingMsr> msr_;
  std::optional<Delivery> delivery_;
  std::optional<vm::WatchHit> watch_hit_;  // to be told when nothing is on its way any more
};

}  // namespace dejavm::soft
