// Adapts a session (a live guest or a replay) to the gdb stub.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <optional>
#include <set>
#include <string>

#include "cli/monitor.h"
#include "gdbstub/target.h"
#include "vm/session.h"

namespace dejavm::cli {

class DebugTarget final : public gdb::Target {
 public:
  /// As Monitor.
  explicit DebugTarget(vm::Session& session, vm::RegisterMaps registers = {}, const trace::Reader* reader = nullptr,
                       replay::Timeline* timeline = nullptr)
      : session_(session), monitor_(session, std::move(registers), reader, timeline) {}

  Result<vm::CpuState> registers() override { return session_.vcpu().state(); }
  Status set_registers(const vm::CpuState& state) override;
  size_t read_virtual(vm::GuestVirt addr, MutableByteSpan to) override;
  size_t read_physical(vm::GuestPhys addr, MutableByteSpan to) override;
  Status write_virtual(vm::GuestVirt addr, ByteSpan from) override;
  Status write_physical(vm::GuestPhys addr, ByteSpan from) override;
  Result<gdb::Stop> resume(const gdb::ResumeRequest& request) override;
  bool can_reverse() const override { return session_.why_forward_only().empty(); }
  /// In a replay nothing is waited for.
  bool steps_are_short() const override { return monitor_.has_trace() && can_reverse(); }
  void interrupt() override;
  void set_breakpoint_test(BreakpointTest test) override;
  Status insert_breakpoint(vm::GuestVirt addr) override;
  Status remove_breakpoint(vm::GuestVirt addr) override;
  Status insert_watch(gdb::WatchKind kind, vm::GuestVirt addr, uint64_t length) override;
  Status remove_watch(gdb::WatchKind kind, vm::GuestVirt addr, uint64_t length) override;
  Status insert_physical_watch(gdb::WatchKind kind, vm::GuestPhys addr, uint64_t length) override;
  Status remove_physical_watch(gdb::WatchKind kind, vm::GuestPhys addr, uint64_t length) override;
  std::vector<gdb::PhysicalRegion> physical_regions() override;
  std::optional<vm::GuestPhys> translate(vm::GuestVirt addr) override;
  std::string monitor(std::string_view command) override;
  void detach() override;
  void kill() override;

  bool killed() const { return killed_; }
  /// How the session ended, once it has.
  const std::optional<vm::SessionStop>& end() const { return end_; }

 private:
  /// A watch on a device is an access break, whose stop says more; and, as its address may lead to RAM later, a watchpoint
  /// of the engine. Where the engine has none, RAM is looked after step by step.
  struct Watch {
    gdb::WatchKind kind;
    vm::Watchpoint::By by;
    uint64_t addr;
    uint64_t length;
    unsigned break_id = 0;  // 0: RAM
    unsigned watch_id = 0;  // 0: the engine has no watchpoints
    Bytes before;           // RAM without a watchpoint: the contents when the guest was resumed
  };

  Result<gdb::Stop> run(const gdb::ResumeRequest& request);
  Status apply_breakpoints();
  Result<gdb::Stop> convert(const vm::SessionStop& stop);
  gdb::Stop device_stop(const vm::SessionStop& stop);
  gdb::Stop watch_stop(const vm::WatchHit& hit);
  bool engine_watches() { return session_.vcpu().capabilities().max_watchpoints != 0; }
  Status insert(Watch watch);
  Status watch_in_engine(Watch& watch);
  void watch_device(Watch& watch);
  Status remove(const Watch& like);
  Status remove_from_session(const Watch& watch);
  std::optional<vm::GuestPhys> place_now(vm::Watchpoint::By by, uint64_t addr);
  size_t read_watched(const Watch& watch, MutableByteSpan to);
  Result<gdb::Stop> walk_until_memory_changes();
  Result<gdb::Stop> step_through(uint64_t first, uint64_t end);
  bool stops_at(uint64_t rip) const;
  bool watches_memory() const;

  vm::Session& session_;
  Monitor monitor_;
  std::set<uint64_t> breakpoints_;
  BreakpointTest breakpoint_test_;
  std::atomic<bool> interrupt_wanted_{false};  // while it walks
  std::list<Watch> watches_;
  std::optional<vm::SessionStop> end_;
  bool killed_ = false;
};

}  // namespace dejavm::cli
