// A debuggee without a CPU: memory, registers, breakpoints, and stops that a test scripts.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gdbstub/target.h"

namespace dejavm::gdb {

/// 64 KiB of memory at virtual 0 and other 64 KiB at physical 0. A step moves rip by one; backward there is nothing to stop
/// at. Running goes, in this order: to the next scripted stop; to the next breakpoint; to a scripted watch hit, else it
/// blocks until interrupt().
class FakeTarget final : public Target {
 public:
  static constexpr size_t kMemorySize = 65536;

  FakeTarget() : virtual_memory(kMemorySize), physical_memory(kMemorySize) {
    state.rip = 0x1000;
    state.cr0 = 0x80000001;
    state.efer = 0x500;
    state.segment[vm::cs].l = 1;
    state.segment[vm::cs].selector = 8;
  }

  Result<vm::CpuState> registers() override {
    if (registers_fail) return fail("the vCPU is lost");
    return state;
  }

  Status set_registers(const vm::CpuState& changed) override {
    if (read_only) return fail("a replay's registers cannot be changed", "use a diversion");
    state = changed;
    return {};
  }

  size_t read_virtual(vm::GuestVirt addr, MutableByteSpan to) override { return copy_from(virtual_memory, addr.value, to); }
  size_t read_physical(vm::GuestPhys addr, MutableByteSpan to) override {
    return copy_from(physical_memory, addr.value, to);
  }
  Status write_virtual(vm::GuestVirt addr, ByteSpan from) override { return copy_to(virtual_memory, addr.value, from); }
  Status write_physical(vm::GuestPhys addr, ByteSpan from) override { return copy_to(physical_memory, addr.value, from); }

  bool can_reverse() const override { return reverses; }
  Result<Stop> resume(const ResumeRequest& request) override {
    const ResumeKind kind = request.kind;
    std::unique_lock lock(mutex_);
    ++resumes;
    changed_.notify_all();
    if (!script.empty()) {
      Result<Stop> stop = script.front();
      script.pop_front();
      return stop;
    }
    if (kind == ResumeKind::reverse_go) return make_stop(Stop::Kind::replay_begin);
    if (kind == ResumeKind::step || kind == ResumeKind::reverse_step) {
      state.rip += kind == ResumeKind::step ? 1 : UINT64_MAX;
      return make_stop(Stop::Kind::step);
    }
    if (kind == ResumeKind::step_range) {
      do ++state.rip;
      while (state.rip >= request.first && state.rip < request.end && state.rip % 0x1000 != 0);
      return make_stop(Stop::Kind::step);
    }
    for (auto next = breakpoints.upper_bound(state.linear_rip()); next != breakpoints.end(); ++next) {
      state.rip += *next - state.linear_rip();
      if (!breakpoint_test || breakpoint_test({*next})) return make_stop(Stop::Kind::breakpoint);
    }
    if (!watches.empty()) {
      Stop stop = make_stop(Stop::Kind::watch);
      stop.watch_addr = watches.begin()->addr;
      stop.watch_kind = watches.begin()->kind;
      if (stop.watch_addr < kMemorySize) ++virtual_memory[stop.watch_addr];
      return stop;
    }
    changed_.wait(lock, [this] { return interrupted_ || ends_; });
    if (!interrupted_) return make_stop(Stop::Kind::replay_end);
    interrupted_ = false;
    ++interrupts;
    changed_.notify_all();
    return make_stop(Stop::Kind::interrupted);
  }

  void interrupt() override {
    const std::lock_guard lock(mutex_);
    interrupted_ = true;
    changed_.notify_all();
  }

  Status insert_breakpoint(vm::GuestVirt addr) override {
    if (read_only) return fail("no breakpoints here");
    log.push_back(fmt::format("break {:#x}", addr.value));
    breakpoints.insert(addr.value);
    return {};
  }

  Status remove_breakpoint(vm::GuestVirt addr) override {
    log.push_back(fmt::format("unbreak {:#x}", addr.value));
    breakpoints.erase(addr.value);
    return {};
  }

  Status insert_watch(WatchKind kind, vm::GuestVirt addr, uint64_t length) override {
    log.push_back(fmt::format("watch {} {:#x}+{}", static_cast<int>(kind), addr.value, length));
    watches.insert({addr.value, length, kind});
    return {};
  }

  Status remove_watch(WatchKind kind, vm::GuestVirt addr, uint64_t length) override {
    log.push_back(fmt::format("unwatch {} {:#x}+{}", static_cast<int>(kind), addr.value, length));
    watches.erase({addr.value, length, kind});
    return {};
  }

  Status insert_physical_watch(WatchKind kind, vm::GuestPhys addr, uint64_t length) override {
    log.push_back(fmt::format("watch {} physical {:#x}+{}", static_cast<int>(kind), addr.value, length));
    return {};
  }

  Status remove_physical_watch(WatchKind kind, vm::GuestPhys addr, uint64_t length) override {
    log.push_back(fmt::format("unwatch {} physical {:#x}+{}", static_cast<int>(kind), addr.value, length));
    return {};
  }

  void set_breakpoint_test(BreakpointTest test) override { breakpoint_test = std::move(test); }
  std::vector<PhysicalRegion> physical_regions() override { return regions; }
  std::optional<vm::GuestPhys> translate(vm::GuestVirt addr) override {
    return addr.value < kMemorySize ? std::optional(vm::GuestPhys{addr.value}) : std::nullopt;
  }

  std::string monitor(std::string_view command) override {
    log.push_back(fmt::format("monitor {}", command));
    return command == "big" ? std::string(40000, 'x') : fmt::format("you said {}\n", command);
  }

  void detach() override {
    const std::lock_guard lock(mutex_);
    breakpoints.clear();
    watches.clear();
    ++detaches;
    changed_.notify_all();
  }

  void kill() override { killed = true; }

  /// Makes a running guest come to the end of its trace.
  void end_of_trace() {
    const std::lock_guard lock(mutex_);
    ends_ = true;
    changed_.notify_all();
  }

  /// Blocks until resume() was called `count` times.
  void wait_for_resumes(unsigned count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return resumes >= count; });
  }

  static Stop make_stop(Stop::Kind kind) {
    Stop stop;
    stop.kind = kind;
    return stop;
  }

  struct Watch {
    uint64_t addr, length;
    WatchKind kind;
    auto operator<=>(const Watch&) const = default;
  };

  vm::CpuState state;
  Bytes virtual_memory;
  Bytes physical_memory;
  std::deque<Result<Stop>> script;
  std::set<uint64_t> breakpoints;
  std::set<Watch> watches;
  BreakpointTest breakpoint_test;
  std::vector<PhysicalRegion> regions = {{PhysicalRegion::Kind::ram, 0, 0x7fff, {}},
                                         {PhysicalRegion::Kind::device, 0x8000, 0x8fff, "edu"},
                                         {PhysicalRegion::Kind::rom, 0xf000, 0xffff, {}}};
  std::vector<std::string> log;  ///< calls that change breakpoints, and monitor commands
  bool read_only = false;
  bool reverses = false;
  bool registers_fail = false;
  bool killed = false;
  unsigned detaches = 0;
  unsigned resumes = 0;
  unsigned interrupts = 0;

 private:
  static size_t copy_from(const Bytes& memory, uint64_t addr, MutableByteSpan to) {
    if (addr >= memory.size()) return 0;
    const size_t count = std::min(to.size(), memory.size() - static_cast<size_t>(addr));
    std::copy_n(memory.begin() + static_cast<ptrdiff_t>(addr), count, to.begin());
    return count;
  }

  Status copy_to(Bytes& memory, uint64_t addr, ByteSpan from) const {
    if (read_only) return fail("a replay's memory cannot be changed");
    if (addr >= memory.size() || from.size() > memory.size() - addr) return fail(fmt::format("no memory at {:#x}", addr));
    std::copy(from.begin(), from.end(), memory.begin() + static_cast<ptrdiff_t>(addr));
    return {};
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool interrupted_ = false;
  bool ends_ = false;
};

}  // namespace dejavm::gdb
