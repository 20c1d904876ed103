// What a live guest and a replay have in common: something that runs, stops and can be looked at. Debuggers, the monitor and
// the shell work on this.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "vm/access_breaks.h"
#include "vm/access_history.h"
#include "vm/address.h"
#include "vm/cpu_state.h"
#include "vm/device.h"
#include "vm/guest_memory.h"
#include "vm/vcpu.h"
#include "vm/watch_list.h"

namespace dejavm::vm {

enum class ResumeFor : uint8_t {
  go,
  step,  ///< one step for a person: interrupts of a live guest wait, so that the step stays where it is looked at
  walk,  ///< one step, and everything enters as it would in `go`
};

/// Backward: the same stops, each before what it tells of (docs/determinism.md, "Stops").
enum class ReverseFor : uint8_t { go, step };

struct SessionStop {
  enum class Kind : uint8_t {
    step,
    breakpoint,   ///< the next instruction has a breakpoint
    device,       ///< `seen` matched an AccessBreak; its instruction has completed
    watch,        ///< `watch`: a watchpoint of the vCPU was hit
    interrupted,  ///< interrupt() was called
    position,     ///< the position that was asked for is reached (replay)
    began,        ///< backward: this is the beginning
    ended,        ///< the guest, or the recording, ended: `reason`
    diverged,     ///< a replay differs from its recording: `reason`
  } kind = Kind::ended;
  SeenAccess seen{};
  WatchHit watch{};
  unsigned break_id = 0;
  std::string reason{};
  uint8_t exit_status = 0;  ///< ended: what the guest exited with
};

/// Owned by the command line; borrowed by the debug adapters. All calls but interrupt() from the thread that runs the guest.
class Session {
 public:
  virtual ~Session() = default;

  /// Runs to the next stop; the guest is at a consistent point then, but for ended and diverged.
  virtual Result<SessionStop> resume(ResumeFor what) = 0;
  /// Why reverse() fails; empty where it does not.
  virtual std::string why_forward_only() const { return "only a replay on the soft engine goes backward"; }
  /// Goes back to the stop before this one.
  virtual Result<SessionStop> reverse(ReverseFor /*what*/) { return fail(why_forward_only(), "Use -accel soft."); }
  /// Makes resume() and reverse() return `interrupted` soon. Any thread.
  virtual void interrupt() = 0;
  /// Breakpoints on instructions (linear addresses); more than the engine can hold is an error.
  virtual Status set_breakpoints(const std::vector<GuestVirt>& addresses) = 0;
  /// Asked at each breakpoint that is reached, at a consistent point, whether it is one to stop at, forward and backward;
  /// null: each is. It may look at the vCPU and memory.
  using BreakpointTest = std::function<bool(GuestVirt at)>;
  virtual void set_breakpoint_test(BreakpointTest test) { breakpoint_test_ = std::move(test); }
  const BreakpointTest& breakpoint_test() const { return breakpoint_test_; }

  virtual Vcpu& vcpu() = 0;
  virtual GuestMemory& memory() = 0;
  /// The device table as of now.
  virtual const std::vector<DeviceRegion>& devices() const = 0;
  virtual AccessBreaks& breaks() = 0;
  /// Watchpoints on guest memory, where vcpu().capabilities().max_watchpoints is not 0; `add` them with vcpu().
  virtual WatchList& watches() { return watches_; }
  virtual const AccessHistory& history() const = 0;
  /// The last access at or before this point that matches; `filter` has a place or is empty.
  virtual Result<std::optional<SeenAccess>> last_access(const AccessFilter& filter);
  /// What a debugger sees of a device at a guest physical address: the byte of the last access that covers it.
  virtual std::optional<uint8_t> device_byte(GuestPhys gpa) { return history().mmio_byte(gpa.value); }
  /// Number of the last numbered event, -1 before the first.
  virtual int64_t last_event() const = 0;
  /// The line of an access. Where the engine did not know the instruction of the last event (a write on KVM), it is looked
  /// for.
  std::string stop_line(SeenAccess seen);
  /// Why registers and memory must not be changed by hand here; empty where they may.
  virtual std::string why_read_only() const = 0;
  /// Before registers or memory are changed by hand: where they must not be, leaves the recording for a diversion, which
  /// rejoin() throws away; fails where there are none.
  virtual Status divert();
  virtual Status rejoin() { return {}; }
  virtual bool diverted() const { return false; }
  /// Before what wants an engine that counts steps, such as watchpoints: a replay that has one in reserve goes on with it.
  virtual Status use_exact_engine() { return {}; }
  /// What the user is to be told, once; empty or whole lines.
  virtual std::string take_notice() { return {}; }

 protected:
  /// A device wrote `size` bytes of the backing: the watchpoint that has them, in the first 16 MiB of its range, by the page
  /// tables as they are.
  std::optional<WatchHit> device_hit(uint64_t backing_offset, uint64_t size);
  bool stops_at(GuestVirt breakpoint) const { return !breakpoint_test_ || breakpoint_test_(breakpoint); }

 private:
  WatchList watches_;
  BreakpointTest breakpoint_test_;
};

}  // namespace dejavm::vm
