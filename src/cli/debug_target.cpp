#include "cli/debug_target.h"

#include <algorithm>

#include "cli/debugger_memory.h"
#include "vm/translate.h"

namespace dejavm::cli {
namespace {

constexpr const char* kRejoined = "dejavm: the replay goes on as recorded; what was changed by hand is gone\n";

}  // namespace

Status DebugTarget::set_registers(const vm::CpuState& state) {
  TRY(session_.divert());
  return session_.vcpu().set_state(state);
}

size_t DebugTarget::read_physical(vm::GuestPhys addr, MutableByteSpan to) { return cli::read_physical(session_, addr, to); }

size_t DebugTarget::read_virtual(vm::GuestVirt addr, MutableByteSpan to) { return cli::read_virtual(session_, addr, to); }

std::optional<vm::GuestPhys> DebugTarget::translate(vm::GuestVirt addr) {
  return place_now(vm::Watchpoint::By::linear, addr.value);
}

/// Memory first: it answers where a device claims the same addresses.
std::vector<gdb::PhysicalRegion> DebugTarget::physical_regions() {
  using Kind = gdb::PhysicalRegion::Kind;
  std::vector<gdb::PhysicalRegion> all;
  for (const vm::MemoryRange& range : session_.memory().map()) {
    all.push_back({range.writable ? Kind::ram : Kind::rom, range.base.value, range.base.value + (range.size - 1), {}});
  }
  for (const vm::DeviceRegion& region : session_.devices()) {
    bool has_end = region.size != 0 && region.size - 1 <= UINT64_MAX - region.base;
    if (region.space != vm::Space::mmio || !has_end) continue;
    gdb::PhysicalRegion device{Kind::device, region.base, region.base + (region.size - 1), region.device};
    bool free = std::ranges::none_of(all, [&](const auto& r) { return r.first <= device.last && device.first <= r.last; });
    if (free) all.push_back(std::move(device));
  }
  std::ranges::sort(all, {}, &gdb::PhysicalRegion::first);
  return all;
}

Status DebugTarget::write_virtual(vm::GuestVirt addr, ByteSpan from) {
  TRY(session_.divert());
  TRY_ASSIGN(vm::CpuState cpu, registers());
  return vm::write_virtual(cpu, session_.memory(), addr, from, vm::Writer::debugger);
}

Status DebugTarget::write_physical(vm::GuestPhys addr, ByteSpan from) {
  TRY(session_.divert());
  return session_.memory().write(addr, from, vm::Writer::debugger);
}

/// GDB does not ask again what it read before the guest went elsewhere.
std::string DebugTarget::monitor(std::string_view command) {
  const Place before = place();
  std::string text = monitor_.execute(command);
  const Place now = place();
  bool counted = before.instructions && now.instructions;
  bool moved = before.event != now.event || (counted ? before.instructions != now.instructions : before.cpu != now.cpu);
  if (moved) text += "gdb still shows the place before: maintenance flush register-cache\n";
  return text;
}

DebugTarget::Place DebugTarget::place() {
  auto cpu = registers();
  return {session_.last_event(), monitor_.instructions(), cpu ? std::optional(*cpu) : std::nullopt};
}

// ---- Running

Result<gdb::Stop> DebugTarget::resume(const gdb::ResumeRequest& request) {
  bool diverted = session_.diverted();
  auto stop = run(request);
  if (stop && diverted && !session_.diverted()) stop->console = kRejoined + stop->console;
  if (stop) stop->console = session_.take_notice() + stop->console;
  return stop;
}

Result<gdb::Stop> DebugTarget::run(const gdb::ResumeRequest& request) {
  using Kind = gdb::ResumeKind;
  if (request.goes_back()) {
    auto what = request.kind == Kind::reverse_go ? vm::ReverseFor::go : vm::ReverseFor::step;
    TRY_ASSIGN(vm::SessionStop stop, session_.reverse(what));
    return convert(stop);
  }
  if (request.kind == Kind::step_range) return step_through(request.first, request.end);
  if (request.kind == Kind::go && watches_memory()) return walk_until_memory_changes();
  TRY_ASSIGN(vm::SessionStop stop, session_.resume(request.kind == Kind::step ? vm::ResumeFor::step : vm::ResumeFor::go));
  return convert(stop);
}

/// One instruction at least, and on as long as the next one is in [first, end).
Result<gdb::Stop> DebugTarget::step_through(uint64_t first, uint64_t end) {
  interrupt_wanted_.store(false);
  for (;;) {
    TRY_ASSIGN(vm::SessionStop stop, session_.resume(vm::ResumeFor::step));
    if (stop.kind != vm::SessionStop::Kind::step) return convert(stop);
    uint64_t rip = session_.vcpu().quick_registers().linear_rip();
    if (stops_at(rip)) return gdb::Stop{.kind = gdb::Stop::Kind::breakpoint};
    if (rip < first || rip >= end) return convert(stop);
    if (interrupt_wanted_.load()) return gdb::Stop{.kind = gdb::Stop::Kind::interrupted};
  }
}

void DebugTarget::interrupt() {
  interrupt_wanted_.store(true);
  session_.interrupt();
}

void DebugTarget::set_breakpoint_test(BreakpointTest test) {
  breakpoint_test_ = test;
  session_.set_breakpoint_test(std::move(test));
}

bool DebugTarget::stops_at(uint64_t rip) const {
  return breakpoints_.contains(rip) && (!breakpoint_test_ || breakpoint_test_({rip}));
}

Result<gdb::Stop> DebugTarget::convert(const vm::SessionStop& stop) {
  using From = vm::SessionStop::Kind;
  using To = gdb::Stop::Kind;
  gdb::Stop out;
  switch (stop.kind) {
    case From::step:
      out.kind = To::step;
      break;
    case From::breakpoint:
      out.kind = To::breakpoint;
      break;
    case From::interrupted:
      out.kind = To::interrupted;
      if (!stop.reason.empty()) out.console = "dejavm: " + stop.reason + "\n";
      break;
    case From::position:
      out.kind = To::position;
      break;
    case From::device:
      return device_stop(stop);
    case From::watch:
      return watch_stop(stop.watch);
    case From::began:
      out.kind = To::replay_begin;
      break;
    case From::ended:
      end_ = stop;
      // A replay can still be looked at when its trace ends; a guest that is gone cannot.
      out.kind = monitor_.has_trace() ? To::replay_end : To::exited;
      out.exit_status = stop.exit_status;
      out.console = "dejavm: " + stop.reason + "\n";
      break;
    case From::diverged:
      end_ = stop;
      out.kind = To::diverged;
      out.console = stop.reason;
      break;
  }
  return out;
}

gdb::Stop DebugTarget::device_stop(const vm::SessionStop& stop) {
  gdb::Stop out{.kind = gdb::Stop::Kind::device};
  out.console = monitor_.access_lines(stop.seen);
  for (const Watch& watch : watches_) {
    if (watch.break_id != stop.break_id) continue;
    out.kind = gdb::Stop::Kind::watch;
    out.watch_addr = watch.addr;
    out.watch_kind = watch.kind;
  }
  return out;
}

gdb::Stop DebugTarget::watch_stop(const vm::WatchHit& hit) {
  const vm::WatchList::Entry& entry = session_.watches().count(hit);
  for (const Watch& watch : watches_) {
    if (watch.watch_id != entry.id) continue;
    return {.kind = gdb::Stop::Kind::watch, .watch_addr = watch.addr, .watch_kind = watch.kind};
  }
  return {.kind = gdb::Stop::Kind::device, .console = vm::watch_line(hit, entry.what, session_.last_event()) + "\n"};
}

// ---- Breakpoints and watches

Status DebugTarget::apply_breakpoints() {
  std::vector<vm::GuestVirt> addresses;
  for (uint64_t addr : breakpoints_) addresses.push_back({addr});
  return session_.set_breakpoints(addresses);
}

Status DebugTarget::insert_breakpoint(vm::GuestVirt addr) {
  bool added = breakpoints_.insert(addr.value).second;
  Status status = apply_breakpoints();
  if (!status && added) {
    breakpoints_.erase(addr.value);
    static_cast<void>(apply_breakpoints());
  }
  return status;
}

Status DebugTarget::remove_breakpoint(vm::GuestVirt addr) {
  breakpoints_.erase(addr.value);
  return apply_breakpoints();
}

Status DebugTarget::insert_watch(gdb::WatchKind kind, vm::GuestVirt addr, uint64_t length) {
  return insert({kind, vm::Watchpoint::By::linear, addr.value, length, 0, 0, {}});
}
Status DebugTarget::remove_watch(gdb::WatchKind kind, vm::GuestVirt addr, uint64_t length) {
  return remove({kind, vm::Watchpoint::By::linear, addr.value, length, 0, 0, {}});
}
Status DebugTarget::insert_physical_watch(gdb::WatchKind kind, vm::GuestPhys addr, uint64_t length) {
  return insert({kind, vm::Watchpoint::By::physical, addr.value, length, 0, 0, {}});
}
Status DebugTarget::remove_physical_watch(gdb::WatchKind kind, vm::GuestPhys addr, uint64_t length) {
  return remove({kind, vm::Watchpoint::By::physical, addr.value, length, 0, 0, {}});
}

/// Where a watched address is now; nothing: it does not translate.
std::optional<vm::GuestPhys> DebugTarget::place_now(vm::Watchpoint::By by, uint64_t addr) {
  if (by == vm::Watchpoint::By::physical) return vm::GuestPhys{addr};
  auto cpu = registers();
  auto gpa = cpu ? vm::translate(*cpu, session_.memory(), {addr}) : tl::make_unexpected(cpu.error());
  return gpa ? std::optional(*gpa) : std::nullopt;
}

Status DebugTarget::insert(Watch watch) {
  auto gpa = place_now(watch.by, watch.addr);
  bool ram = gpa && session_.memory().find(*gpa) != nullptr;
  // Where that fails, KVM still walks for a `watch`.
  Status exact = engine_watches() || (gpa && !ram) ? Status{} : session_.use_exact_engine();
  if (engine_watches()) {
    TRY(watch_in_engine(watch));
  } else if (watch.length > vm::kPageSize) {
    return fail(fmt::format("a watch of {} bytes is too long; at most {}", watch.length, vm::kPageSize));
  } else if (ram && watch.kind != gdb::WatchKind::write) {
    TRY(exact);
    return fail(
        fmt::format("{:#x} is RAM: only `watch` works there on KVM; rwatch and awatch are for device registers", watch.addr),
        "-accel soft has all three.");
  }
  if (!ram) watch_device(watch);
  watches_.push_back(std::move(watch));
  return {};
}

Status DebugTarget::watch_in_engine(Watch& watch) {
  vm::Watchpoint what{.by = watch.by,
                      .first = watch.addr,
                      .length = watch.length,
                      .on_read = watch.kind != gdb::WatchKind::write,
                      .on_write = watch.kind != gdb::WatchKind::read};
  TRY_ASSIGN(watch.watch_id, session_.watches().add(session_.vcpu(), what, false));
  return {};
}

/// An address that does not translate now may lead to a device later.
void DebugTarget::watch_device(Watch& watch) {
  vm::AccessFilter filter;
  if (watch.kind != gdb::WatchKind::access)
    filter.direction = watch.kind == gdb::WatchKind::write ? vm::Direction::write : vm::Direction::read;
  auto resolve = [this, by = watch.by, addr = watch.addr, length = watch.length]() -> std::optional<vm::Place> {
    auto at = place_now(by, addr);
    if (!at) return std::nullopt;
    return vm::Place{fmt::format("{:#x}", addr), "", vm::Space::mmio, at->value, at->value + (length - 1)};
  };
  auto place = resolve();
  if (place) filter.places = {*place};
  watch.break_id = session_.breaks().add(std::move(filter), 0, place ? nullptr : std::function(resolve));
}

Status DebugTarget::remove(const Watch& like) {
  auto found = std::find_if(watches_.begin(), watches_.end(), [&](const Watch& w) {
    return w.kind == like.kind && w.by == like.by && w.addr == like.addr && w.length == like.length;
  });
  if (found == watches_.end()) return {};
  TRY(remove_from_session(*found));
  watches_.erase(found);
  return {};
}

Status DebugTarget::remove_from_session(const Watch& watch) {
  if (watch.break_id != 0) session_.breaks().remove(watch.break_id);
  if (watch.watch_id != 0) TRY(session_.watches().remove(session_.vcpu(), watch.watch_id));
  return {};
}

size_t DebugTarget::read_watched(const Watch& watch, MutableByteSpan to) {
  return watch.by == vm::Watchpoint::By::physical ? read_physical({watch.addr}, to) : read_virtual({watch.addr}, to);
}

bool DebugTarget::watches_memory() const {
  return std::any_of(watches_.begin(), watches_.end(), [](const Watch& w) { return w.break_id == 0 && w.watch_id == 0; });
}

/// Stores to RAM do not stop a guest whose engine has no watchpoints: walk and compare. Exact, and catches DMA too; tens of
/// thousands of steps a second.
Result<gdb::Stop> DebugTarget::walk_until_memory_changes() {
  for (Watch& watch : watches_) {
    watch.before.resize(watch.length);
    watch.before.resize(watch.break_id == 0 ? read_watched(watch, watch.before) : 0);
  }
  for (;;) {
    TRY_ASSIGN(vm::SessionStop stop, session_.resume(vm::ResumeFor::walk));
    for (Watch& watch : watches_) {
      Bytes now(watch.before.size());
      if (now.empty() || read_watched(watch, now) != now.size() || now == watch.before) continue;
      gdb::Stop out{.kind = gdb::Stop::Kind::watch, .watch_addr = watch.addr, .watch_kind = watch.kind};
      return out;
    }
    if (stop.kind != vm::SessionStop::Kind::step) return convert(stop);
    TRY_ASSIGN(vm::CpuState cpu, registers());
    if (stops_at(cpu.linear_rip())) return gdb::Stop{.kind = gdb::Stop::Kind::breakpoint};
  }
}

void DebugTarget::detach() {
  breakpoints_.clear();
  static_cast<void>(apply_breakpoints());
  set_breakpoint_test(nullptr);
  for (const Watch& watch : watches_) static_cast<void>(remove_from_session(watch));
  watches_.clear();
  static_cast<void>(session_.rejoin());
}

void DebugTarget::kill() {
  static_cast<void>(session_.rejoin());
  killed_ = true;
}

}  // namespace dejavm::cli
