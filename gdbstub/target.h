// What the stub debugs: a running guest or a replay. The stub sees nothing else of dejavm.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "vm/address.h"
#include "vm/cpu_state.h"

namespace dejavm::gdb {

/// Z2, Z3, Z4 of the remote protocol.
enum class WatchKind : uint8_t { write, read, access };

/// step_range: instruction by instruction, as long as the next one is in a range. reverse_*: bc and bs, where
/// Target::can_reverse().
enum class ResumeKind : uint8_t { go, step, step_range, reverse_go, reverse_step };

struct ResumeRequest {
  ResumeKind kind = ResumeKind::go;
  uint64_t first = 0, end = 0;  ///< of step_range, linear: [first, end)
  bool goes() const { return kind == ResumeKind::go || kind == ResumeKind::reverse_go || kind == ResumeKind::step_range; }
  bool goes_back() const { return kind == ResumeKind::reverse_go || kind == ResumeKind::reverse_step; }
};

/// A range of guest physical addresses that is memory or a device.
struct PhysicalRegion {
  enum class Kind : uint8_t { ram, rom, device } kind = Kind::ram;
  uint64_t first = 0, last = 0;
  std::string name;  ///< of the device
};

struct Stop {
  enum class Kind : uint8_t {
    step,          ///< T05
    breakpoint,    ///< T05, swbreak/hwbreak
    watch,         ///< T05, watch/rwatch/awatch with `watch_addr`
    device,        ///< T05: a `monitor mmio break` was hit; `console` has the line
    position,      ///< T05: the position that was asked for is reached
    interrupted,   ///< T02: interrupt() or Ctrl-C
    exited,        ///< W: the guest powered off or exited with `exit_status`; a live session has ended
    replay_begin,  ///< T05 with replaylog:begin: backward, there is nothing before this
    replay_end,    ///< T05 with replaylog:end: the trace has no more events
    diverged,      ///< T06: the replay diverged; `console` says how
  } kind = Kind::step;
  uint64_t watch_addr = 0;  ///< the address that the Z packet named
  WatchKind watch_kind = WatchKind::write;
  uint8_t exit_status = 0;
  std::string console;  ///< text for the user, printed before the stop reply; lines end with \n
};

/// The debuggee. All calls but interrupt() from the server's thread, and only while the guest is stopped.
class Target {
 public:
  virtual ~Target() = default;

  virtual Result<vm::CpuState> registers() = 0;
  /// May refuse (a replay): the error text goes to the user.
  virtual Status set_registers(const vm::CpuState& state) = 0;

  /// Reads as many bytes as there are from a linear address through the guest's page tables (never a device access: device
  /// addresses give the last recorded value, or fail). Returns how many; 0 where the first byte cannot be read.
  virtual size_t read_virtual(vm::GuestVirt addr, MutableByteSpan to) = 0;
  virtual size_t read_physical(vm::GuestPhys addr, MutableByteSpan to) = 0;
  virtual Status write_virtual(vm::GuestVirt addr, ByteSpan from) = 0;
  virtual Status write_physical(vm::GuestPhys addr, ByteSpan from) = 0;

  /// Whether the reverse kinds of resume() are possible.
  virtual bool can_reverse() const { return false; }
  /// Whether a step forward always returns soon, so that nobody needs to interrupt it.
  virtual bool steps_are_short() const { return false; }
  /// Runs until something stops it. Blocks.
  virtual Result<Stop> resume(const ResumeRequest& request) = 0;
  /// Makes resume() return Stop::interrupted soon. Any thread. The server calls it again and again until resume() has
  /// returned, so that a call just before resume() need not count; one that comes too late may end the next resume(), which
  /// the server repeats.
  virtual void interrupt() = 0;

  /// Asked at every breakpoint that is reached, in the thread that runs the guest, whether it is one to stop at; null: each
  /// is. It may call registers() and the read functions.
  using BreakpointTest = std::function<bool(vm::GuestVirt addr)>;
  virtual void set_breakpoint_test(BreakpointTest test) = 0;
  /// Z0 and Z1. An error is told to gdb as E.
  virtual Status insert_breakpoint(vm::GuestVirt addr) = 0;
  virtual Status remove_breakpoint(vm::GuestVirt addr) = 0;
  /// Z2..Z4 on a linear address range; never fails because the address does not translate now.
  virtual Status insert_watch(WatchKind kind, vm::GuestVirt addr, uint64_t length) = 0;
  virtual Status remove_watch(WatchKind kind, vm::GuestVirt addr, uint64_t length) = 0;
  /// The same on a guest physical range, which a debugger in QEMU's physical memory mode means.
  virtual Status insert_physical_watch(WatchKind kind, vm::GuestPhys addr, uint64_t length) = 0;
  virtual Status remove_physical_watch(WatchKind kind, vm::GuestPhys addr, uint64_t length) = 0;

  /// What the guest physical space holds now, ascending; nothing else answers there.
  virtual std::vector<PhysicalRegion> physical_regions() = 0;
  /// Where a linear address leads now; nothing: it does not translate.
  virtual std::optional<vm::GuestPhys> translate(vm::GuestVirt addr) = 0;

  /// `monitor COMMAND`: the text to show. Unknown commands answer with a text that says so.
  virtual std::string monitor(std::string_view command) = 0;

  /// The debugger let go (D, or its connection broke): breakpoints and watches are gone.
  virtual void detach() = 0;
  /// The debugger asked to end the guest (k, vKill).
  virtual void kill() = 0;
};

}  // namespace dejavm::gdb
