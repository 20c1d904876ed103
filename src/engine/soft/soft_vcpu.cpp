#include "engine/soft/soft_vcpu.h"

#include <algorithm>

#include "engine/soft/core.h"
#include "engine/soft/translate/translator.h"
#include "vm/instruction.h"
#include "vm/translate.h"

namespace dejavm::soft {
namespace {

constexpr unsigned kMaxBreakpoints = 1u << 16;
constexpr uint64_t kPhysicalEnd = uint64_t{1} << 52;

/// Why no CPU can be in this state; empty: it can (AMD64 APM volume 2, section 14.6.1 and chapter 3).
std::string why_impossible(const vm::CpuState& state) {
  bool pe = (state.cr0 & 1) != 0, pg = (state.cr0 & 1u << 31) != 0, pae = (state.cr4 & 1u << 5) != 0;
  bool lme = (state.efer & 1u << 8) != 0, lma = (state.efer & 1u << 10) != 0;
  if (pg && !pe) return "CR0.PG without CR0.PE";
  if (lma != (lme && pg)) return "EFER.LMA is not what EFER.LME and CR0.PG make it";
  if (lma && !pae) return "long mode without CR4.PAE";
  if (!Core::canonical(state.rip) && lma && state.segment[vm::cs].l != 0) return "RIP is not canonical";
  return {};
}

/// The face of a Core. Owns the model that the Core borrows.
class SoftVcpu final : public vm::Vcpu {
 public:
  SoftVcpu(vm::GuestMemory& memory, const vm::CpuModel& model, ExecutablePool* pool, uint64_t steps)
      : memory_(memory), model_(model), core_(memory, model_, pool) {
    core_.steps = steps;
    capabilities_ = {.exact_window = true,
                     .hardware_breakpoints = true,
                     .max_breakpoints = kMaxBreakpoints,
                     .hidden_breakpoints = true,
                     .single_step = true,
                     .exact_steps = true,
                     .max_watchpoints = SIZE_MAX,
                     .description = "soft (a software CPU: every instruction has its position)"};
  }

  Status translate(const TranslatorOptions& options) { return core_.translate(options); }

  const vm::VcpuCapabilities& capabilities() const override { return capabilities_; }

  Result<vm::Exit> run(vm::RunMode mode) override {
    if (map_generation_ != memory_.map_generation()) {
      map_generation_ = memory_.map_generation();
      core_.memory.flush();
    }
    try {
      return core_.run(mode);
    } catch (const EngineFailure& failure) {
      return fail(failure.what + "\n" + where(), failure.next);
    }
  }
  void reply(uint64_t value) override { core_.answer(value); }
  void reply_fault() override { core_.answer_fault(); }
  void kick() override { core_.kicked.store(true, std::memory_order_relaxed); }

  Result<vm::CpuState> state() override { return core_.cpu; }
  Status set_state(const vm::CpuState& state) override {
    std::string why = why_impossible(state);
    if (!why.empty())
      return fail("no CPU can be in this state: " + why, "What it came from (a trace, a checkpoint) is damaged.");
    core_.set_state(state);
    return {};
  }
  const vm::CpuState& quick_registers() override { return core_.cpu; }
  uint64_t rip() override { return core_.cpu.rip; }

  bool interrupts_enabled() const override { return (core_.cpu.rflags & vm::kRflagsIf) != 0; }
  Result<bool> can_interrupt() override { return core_.can_interrupt(); }
  Status interrupt(uint8_t vector) override {
    core_.inject(EventKind::external, vector);
    return {};
  }
  Status nmi() override {
    core_.inject(EventKind::nmi, kNmi);
    return {};
  }
  Result<bool> injection_pending() override { return core_.injection_pending(); }
  void request_window(bool wanted) override { core_.window_wanted = wanted; }

  Status set_breakpoints(std::span<const vm::GuestVirt> addresses) override {
    if (addresses.size() > kMaxBreakpoints) {
      return fail(fmt::format("{} breakpoints are more than {}", addresses.size(), kMaxBreakpoints), "Delete some.");
    }
    std::vector<uint64_t> sorted;
    for (vm::GuestVirt address : addresses) sorted.push_back(address.value);
    std::ranges::sort(sorted);
    core_.set_breakpoints(std::move(sorted));
    return {};
  }

  void await(const vm::CpuState* state) override { core_.awaited = state; }

  Status set_watchpoints(std::span<const vm::Watchpoint> watchpoints) override {
    for (const vm::Watchpoint& one : watchpoints) {
      uint64_t end = one.by == vm::Watchpoint::By::physical ? kPhysicalEnd : 0;  // 0: 2^64
      if (one.length != 0 && one.first <= end - 1 && one.length - 1 <= end - 1 - one.first) continue;
      return fail(fmt::format("{} bytes at {:#x} cannot be watched", one.length, one.first),
                  "A range has at least one byte and does not reach beyond the end of the addresses.");
    }
    core_.set_watchpoints({watchpoints.begin(), watchpoints.end()});
    return {};
  }

  uint64_t steps() const override { return core_.steps; }
  void set_steps(uint64_t steps) override { core_.steps = steps; }
  void set_step_limit(uint64_t limit) override { core_.step_limit = limit; }

  const vm::UntrappedReads* untrapped_reads() const override { return &core_.untrapped_reads; }
  void set_untrapped_reads(const vm::UntrappedReads& reads) override { core_.untrapped_reads = reads; }

  Status collect_dirty() override {
    core_.memory.forget_writable();
    return {};
  }

 private:
  /// The instruction and registers, for an engine failure.
  std::string where() {
    uint8_t bytes[15];
    vm::GuestVirt rip{core_.cpu.linear_rip()};
    size_t size = vm::read_virtual(core_.cpu, memory_, rip, bytes);
    std::string text = size == 0 ? "(no code can be read there)" : vm::disassemble({bytes, size}, core_.code_bits(), rip);
    return fmt::format("at {:#x}: {}\n{}", rip.value, text, vm::describe(core_.cpu));
  }

  vm::GuestMemory& memory_;
  const vm::CpuModel model_;
  Core core_;
  vm::VcpuCapabilities capabilities_;
  uint64_t map_generation_ = 0;
};

}  // namespace

Result<std::unique_ptr<vm::Vcpu>> create_vcpu(vm::GuestMemory& memory, const vm::CpuModel& model, Execution execution,
                                              ExecutablePool* pool, uint64_t steps) {
  auto vcpu = std::make_unique<SoftVcpu>(memory, model, pool, steps);
  if (execution != Execution::interpret && Translator::host_can_translate()) {
    TranslatorOptions options;
    if (execution == Execution::translate_at_once) options.visits = 1;
    TRY(vcpu->translate(options));
  }
  return vcpu;
}

}  // namespace dejavm::soft
