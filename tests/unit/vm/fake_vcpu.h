// A CPU for tests: a deterministic machine of a few instructions, with the exit shapes of KVM (kvm-facts).
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "vm/guest_memory.h"
#include "vm/vcpu.h"

namespace dejavm::vm {

/// One instruction of FakeVcpu. Devices answer into rax; a write sends `value` or, without one, rax.
struct Op {
  enum class Kind {
    nop,
    read,
    write,
    read_modify_write,
    store,
    halt,
    cli,
    sti,
    iret,
    jump,
    loop,
    rdmsr,
    wrmsr,
    rdtsc,
    triple_fault
  };
  Kind kind = Kind::nop;
  Access access{};                  ///< read, write, read_modify_write (which adds 1)
  std::optional<uint64_t> value{};  ///< write, wrmsr
  uint64_t number = 0;              ///< store: address; jump, loop: target; rdmsr, wrmsr: index
  unsigned length = 4;              ///< bytes
};

Op nop();
Op read(uint64_t addr, uint8_t size = 4);
Op write(uint64_t addr, std::optional<uint64_t> value, uint8_t size = 4);
Op in(uint16_t port);
Op out(uint16_t port, std::optional<uint64_t> value);
/// Adds 1 to a device register: a read, then a write.
Op increment(uint64_t addr);
/// Stores rax at addr + 8 * rcx.
Op store(uint64_t addr);
Op halt();
Op cli();
Op sti();
Op iret();
Op jump(uint64_t target);
/// Decrements rcx and jumps while it is not zero.
Op loop(uint64_t target);
Op rdmsr(uint32_t index);
Op wrmsr(uint32_t index, uint64_t value);
/// Puts a count of its own into rax.
Op rdtsc();
Op triple_fault();

inline constexpr uint64_t kCode = 0x1000;

/// Instructions by address.
struct Program {
  std::map<uint64_t, Op> ops;

  Program() = default;
  Program(std::initializer_list<Op> code) { add(kCode, code); }
  Program& add(uint64_t addr, std::initializer_list<Op> code);
  /// The code that an interrupt with this vector enters.
  Program& handler(uint8_t vector, std::initializer_list<Op> code) { return add(handler_address(vector), code); }
  static uint64_t handler_address(uint8_t vector) { return 0x10000 + vector * uint64_t{0x40}; }
};

/// Executes a Program. Where the program ends, run() fails as an emulation failure does. Interrupt frames go to the stack in
/// guest RAM. A read exits with RIP on the instruction, a write with RIP past it, and both are completed by the next run.
class FakeVcpu final : public Vcpu {
 public:
  FakeVcpu(GuestMemory& memory, Program program);

  const VcpuCapabilities& capabilities() const override { return can; }
  Result<Exit> run(RunMode mode) override;
  Result<std::optional<Exit>> run_out(WayOut /*way*/, const std::function<void()>& /*starts*/) override {
    return way_out ? way_out() : std::nullopt;
  }
  void reply(uint64_t value) override { answer_ = value; }
  void reply_fault() override { faulted = true; }
  void kick() override { kicked_.store(true); }
  Result<CpuState> state() override { return state_; }
  Status set_state(const CpuState& state) override;
  const CpuState& quick_registers() override { return state_; }
  bool interrupts_enabled() const override { return (state_.rflags & kRflagsIf) != 0; }
  Result<bool> can_interrupt() override { return open(); }
  Status interrupt(uint8_t vector) override;
  Status nmi() override;
  Result<bool> injection_pending() override { return injected_.has_value(); }
  void request_window(bool wanted) override { window_wanted_ = wanted; }
  Status set_breakpoints(std::span<const GuestVirt> addresses) override;
  /// Kept for the test to look at; none is ever hit by itself.
  Status set_watchpoints(std::span<const Watchpoint> wanted) override;
  const UntrappedReads* untrapped_reads() const override { return sees_untrapped ? &untrapped_ : nullptr; }
  void set_untrapped_reads(const UntrappedReads& reads) override { untrapped_ = reads; }
  Status collect_dirty() override;

  /// The state that FakeVcpu starts in: 32-bit code, no paging, interrupts off.
  static CpuState start_state();

  // What a test sets.
  VcpuCapabilities can{.exact_window = true, .hardware_breakpoints = true, .max_breakpoints = 4, .single_step = true};
  std::function<void()> on_run;                  ///< at the start of each run
  std::function<void()> on_instruction;          ///< before each instruction
  std::function<bool()> kick_now;                ///< asked at each boundary of a free run: ends it
  uint64_t slice = 10'000;                       ///< a free run ends after this many instructions, as if kicked
  std::function<std::optional<Exit>()> way_out;  ///< run_out()
  bool sees_untrapped = false;                   ///< untrapped_reads()
  uint64_t time_stamp = 100;                     ///< of the next rdtsc
  uint64_t window_lag = 0;                       ///< how many instructions late WindowOpen comes

  // What a test looks at.
  uint64_t free_runs = 0, steps = 0;
  std::vector<Watchpoint> watchpoints;
  bool faulted = false;
  std::vector<uint8_t> delivered;  ///< vectors, 2 for an NMI
  bool window_wanted() const { return window_wanted_; }
  bool in_access() const { return pending_.has_value(); }

 private:
  struct Pending {
    Op op;
    bool second = false;  // the write of a read-modify-write
  };

  bool open() const;
  std::optional<Exit> complete_access();
  std::optional<Exit> interruption(RunMode mode, bool may_break);
  bool deliver();
  Result<std::optional<Exit>> execute();
  std::optional<Exit> execute(const Op& op);
  void push(uint64_t value);
  uint64_t pop();
  void store_bytes(uint64_t gpa, uint64_t value);

  GuestMemory& memory_;
  Program program_;
  CpuState state_ = start_state();
  std::optional<Pending> pending_;
  uint64_t answer_ = 0;
  std::optional<uint8_t> injected_;
  UntrappedReads untrapped_;
  bool window_wanted_ = false;
  uint64_t open_for_ = 0;  // boundaries at which the wanted window was open
  std::set<uint64_t> breakpoints_;
  std::set<uint64_t> dirty_;
  std::atomic<bool> kicked_{false};
};

}  // namespace dejavm::vm
