// The interface of an execution engine: one vCPU over one GuestMemory. Exits are values; the reply to an access is given to
// the next run. docs/determinism.md says what a consistent point is; this interface is how one is reached.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "vm/access.h"
#include "vm/address.h"
#include "vm/cpu_state.h"
#include "vm/untrapped.h"

namespace dejavm::vm {

/// The guest accesses a device. For a read, the value given to reply() is what it reads; a run without reply() reads zero.
struct DeviceAccess {
  Access access;
  /// Linear address of the accessing instruction, where the engine knows it (on KVM: MMIO reads).
  std::optional<GuestVirt> instruction;
  /// Whether it belongs to the same step as the access before it, where the engine knows (not on KVM).
  std::optional<bool> joins_previous;
};
/// HLT completed: RIP is past it. The next run continues behind it, interrupt or not; waiting is the caller's part.
struct Halted {};
/// RDMSR or WRMSR of a register outside kStateMsrs. Answer with reply(value) or reply_fault().
struct MsrAccess {
  uint32_t index = 0;
  bool write = false;
  uint64_t value = 0;
};
/// The interrupt window that was requested opened. Consistent.
struct WindowOpen {};
/// kick() or a signal ended the run. Consistent.
struct Interrupted {};
/// A step ended (RunMode::step). Consistent.
struct Stepped {};
/// The next instruction has a breakpoint. Consistent; nothing of it ran.
struct BreakpointHit {
  GuestVirt at;
};
/// steps() has reached the limit of set_step_limit(). Consistent.
struct StepLimit {};
/// Nothing is pending any more (RunMode::complete). Consistent.
struct Completed {};

/// Bytes of guest memory to stop at: [first, first + length), which does not wrap around.
struct Watchpoint {
  enum class By : uint8_t { linear, physical };
  By by = By::linear;
  uint64_t first = 0;
  uint64_t length = 1;
  bool on_read = false;
  bool on_write = true;
  bool operator==(const Watchpoint&) const = default;
};
/// The instruction (or the iteration of a rep string instruction, or the delivery of an exception or interrupt) that just
/// completed accessed watched bytes; takes the place of Stepped and Completed. Consistent. Of several accesses it is the
/// first write, else the first read.
struct WatchHit {
  size_t watchpoint = 0;  ///< index in what set_watchpoints() got; the first one of several
  uint64_t address = 0;   ///< of the first watched byte that was accessed; linear or physical as the watchpoint is
  Direction direction = Direction::write;
  /// Linear address of the instruction, or of the interrupted one; nothing: a device wrote (Session::device_hit()).
  std::optional<GuestVirt> instruction;
};
/// Triple fault.
struct Shutdown {};

using Exit = std::variant<DeviceAccess, Halted, MsrAccess, WindowOpen, Interrupted, Stepped, BreakpointHit, StepLimit,
                          Completed, Shutdown, WatchHit>;

enum class RunMode {
  free,      ///< until an exit
  step,      ///< one instruction, or one iteration of a rep string instruction; its device accesses exit first
  complete,  ///< finish the instruction that exited: Completed, or its next access
};

/// What an engine can do here, found by probing (an ioctl that returns 0 proves nothing).
struct VcpuCapabilities {
  bool exact_window = false;          ///< WindowOpen comes at the first boundary with IF=1 and no shadow, repeatably
  bool hardware_breakpoints = false;  ///< breakpoints cost nothing while not hit; at most `max_breakpoints`
  unsigned max_breakpoints = 0;
  bool hidden_breakpoints = false;  ///< a guest that reads or writes its code there cannot tell
  bool single_step = false;
  bool exact_steps = false;    ///< steps() counts, and set_step_limit() ends a free run at exactly that count
  size_t max_watchpoints = 0;  ///< SIZE_MAX: any number, each of any length
  std::string description;     ///< e.g. "kvm (kvm_pvm: hardware breakpoints and single-step work, ...)"
};

/// How code of ring 0 is left: where the `level`-th caller goes on (1: that of the function that runs), or where the loop
/// ends in which that caller goes on (0: the loop that runs).
struct WayOut {
  bool of_loop = false;
  size_t level = 1;
};

/// One vCPU. All calls but kick() from one thread. Errors of run() are final: emulation failures carry instruction bytes,
/// disassembly and registers in Error::what.
class Vcpu {
 public:
  virtual ~Vcpu() = default;

  virtual const VcpuCapabilities& capabilities() const = 0;

  /// Runs. Re-reads the memory map when GuestMemory::map_generation() changed. Breakpoints are honoured in RunMode::free
  /// only; a run that starts on a breakpoint executes that instruction first.
  virtual Result<Exit> run(RunMode mode) = 0;
  /// As run(RunMode::free), but ends with BreakpointHit also where the running code is left: user code at the kernel's first
  /// instruction, ring 0 as `way` says. Nothing of it stays in the guest. For a consistent point that replays find again.
  /// Calls `starts` right before the guest runs: finding the way takes time. nullopt: not to be had; nothing ran.
  virtual Result<std::optional<Exit>> run_out(WayOut /*way*/, const std::function<void()>& /*starts*/) {
    return std::nullopt;
  }
  /// Answers the pending read of the last DeviceAccess or MsrAccess.
  virtual void reply(uint64_t value) = 0;
  /// Answers the last MsrAccess with #GP.
  virtual void reply_fault() = 0;

  /// Makes the current or the next run(RunMode::free) return Interrupted soon. Any thread, async-signal-safe.
  virtual void kick() = 0;

  /// The whole state. Not at a consistent point (a DeviceAccess that is not complete, an injection that is not delivered)
  /// general registers and RIP are as the engine has them in the middle of it: good to look at, not to keep.
  virtual Result<CpuState> state() = 0;
  /// At a consistent point only.
  virtual Status set_state(const CpuState& state) = 0;
  /// General, segment and control registers of the last exit: cheap. Debug registers, MSRs other than EFER, x87 and SSE are
  /// not filled.
  virtual const CpuState& quick_registers() = 0;
  /// RIP of the last exit: cheaper still, for every access of a recording.
  virtual uint64_t rip() { return quick_registers().rip; }

  /// IF as of the last exit, without looking at the shadow; cheap.
  virtual bool interrupts_enabled() const = 0;
  /// True when an interrupt may enter now: IF=1, no STI or MOV SS shadow, nothing injected before and not yet delivered.
  virtual Result<bool> can_interrupt() = 0;
  /// Injects; only when can_interrupt(). The frame is pushed at the start of the next run.
  virtual Status interrupt(uint8_t vector) = 0;
  virtual Status nmi() = 0;
  /// True while an injected event waits for the next run: not a consistent point.
  virtual Result<bool> injection_pending() = 0;
  /// Whether the next runs end with WindowOpen when an interrupt may enter.
  virtual void request_window(bool wanted) = 0;

  /// Replaces all breakpoints (linear addresses). More than max_breakpoints is an error.
  virtual Status set_breakpoints(std::span<const GuestVirt> addresses) = 0;

  /// While it is not null, free runs may pass the breakpoint at this state's RIP where the general registers are others: for
  /// a loop that comes by often. Borrowed. Engines may stop there all the same.
  virtual void await(const CpuState* /*state*/) {}

  /// Whether a breakpoint at the address would stop the guest as it is now: some engines cannot stop user code.
  virtual Result<bool> can_break_at(GuestVirt /*address*/) { return capabilities().hardware_breakpoints; }

  /// Replaces all watchpoints, honoured in every mode of run(). The CPU's accesses to data count, its own to stacks and
  /// descriptor tables included; instruction fetches, page walks and what others write do not, nor do accesses of
  /// instructions that fault. More than max_watchpoints, or a range that wraps around, is an error.
  virtual Status set_watchpoints(std::span<const Watchpoint> watchpoints) {
    if (watchpoints.empty()) return {};
    return fail("this engine has no watchpoints", "Use -accel soft, or step and compare.");
  }

  /// Steps since the vCPU was made (docs/determinism.md says what a step is), where capabilities().exact_steps.
  virtual uint64_t steps() const { return 0; }
  /// Where capabilities().exact_steps: has steps() go on from another count. With set_state(), at a consistent point.
  virtual void set_steps(uint64_t /*steps*/) {}
  /// Where capabilities().exact_steps: a free run ends with StepLimit at exactly `limit` steps, or at once beyond them.
  /// UINT64_MAX: never.
  virtual void set_step_limit(uint64_t /*limit*/) {}

  /// What the guest executed of the instructions that KVM cannot trap, since the vCPU was made; null where the engine cannot
  /// see them.
  virtual const UntrappedReads* untrapped_reads() const { return nullptr; }
  /// Where it sees them: has it go on counting from others.
  virtual void set_untrapped_reads(const UntrappedReads& /*reads*/) {}

  /// Adds the pages that the vCPU may have changed since the last call to GuestMemory's dirty set.
  virtual Status collect_dirty() = 0;
};

}  // namespace dejavm::vm
