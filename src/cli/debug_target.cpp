#include "cli/debug_target.h"

#include <algorithm>

#include "vm/translate.h"

namespace dejavm::cli {
namespace {

Status refuse_if_read_only(const vm::Session& session) {
  std::string why = session.why_read_only();
  if (!why.empty()) return fail(why);
  return {};
}

}  // namespace

Status DebugTarget::set_registers(const vm::CpuState& state) {
  TRY(refuse_if_read_only(session_));
  return session_.vcpu().set_state(state);
}

size_t DebugTarget::read_device(vm::GuestPhys addr, MutableByteSpan to) const {
  for (size_t done = 0; done < to.size(); ++done) {
    if (session_.memory().find(addr + done) != nullptr) return done;
    auto byte = session_.history().mmio_byte(addr.value + done);
    if (!byte && vm::find_region(session_.devices(), vm::Space::mmio, addr.value + done) == nullptr) return done;
    to[done] = byte.value_or(0);  // a register that was never accessed
  }
  return to.size();
}

size_t DebugTarget::read_physical(vm::GuestPhys addr, MutableByteSpan to) {
  size_t done = 0;
  while (done < to.size()) {
    vm::GuestPhys at = addr + done;
    size_t length = std::min<size_t>(to.size() - done, vm::kPageSize - at.value % vm::kPageSize);
    MutableByteSpan piece = to.subspan(done, length);
    size_t got = session_.memory().read(at, piece) ? length : read_device(at, piece);
    done += got;
    if (got < length) break;
  }
  return done;
}

size_t DebugTarget::read_virtual(vm::GuestVirt addr, MutableByteSpan to) {
  auto cpu = registers();
  if (!cpu) return 0;
  size_t done = 0;
  while (done < to.size()) {
    vm::GuestVirt at = addr + done;
    size_t length = std::min<size_t>(to.size() - done, vm::kPageSize - at.value % vm::kPageSize);
    auto gpa = vm::translate(*cpu, session_.memory(), at);
    size_t got = gpa ? read_physical(*gpa, to.subspan(done, length)) : 0;
    done += got;
    if (got < length) break;
  }
  return done;
}

Status DebugTarget::write_virtual(vm::GuestVirt addr, ByteSpan from) {
  TRY(refuse_if_read_only(session_));
  TRY_ASSIGN(vm::CpuState cpu, registers());
  return vm::write_virtual(cpu, session_.memory(), addr, from, vm::Writer::debugger);
}

Status DebugTarget::write_physical(vm::GuestPhys addr, ByteSpan from) {
  TRY(refuse_if_read_only(session_));
  return session_.memory().write(addr, from, vm::Writer::debugger);
}

// ---- Running

Result<gdb::Stop> DebugTarget::resume(gdb::ResumeKind kind) {
  if (kind == gdb::ResumeKind::go && watches_memory()) return walk_until_memory_changes();
  TRY_ASSIGN(vm::SessionStop stop, session_.resume(kind == gdb::ResumeKind::step ? vm::ResumeFor::step : vm::ResumeFor::go));
  return convert(stop);
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
    case From::position:
      out.kind = To::interrupted;
      break;
    case From::device: {
      out.kind = To::device;
      out.console = session_.stop_line(stop.seen) + "\n";
      for (const Watch& watch : watches_) {
        if (watch.break_id != stop.break_id) continue;
        out.kind = To::watch;
        out.watch_addr = watch.addr.value;
        out.watch_kind = watch.kind;
      }
      break;
    }
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
  if (length > vm::kPageSize) return fail(fmt::format("a watch of {} bytes is too long; at most {}", length, vm::kPageSize));
  TRY_ASSIGN(vm::CpuState cpu, registers());
  auto gpa = vm::translate(cpu, session_.memory(), addr);
  bool ram = gpa && session_.memory().find(*gpa) != nullptr;
  if (ram && kind != gdb::WatchKind::write) {
    return fail(
        fmt::format("{:#x} is RAM: only `watch` works there; rwatch and awatch are for device registers", addr.value));
  }
  Watch watch{kind, addr, std::max<uint64_t>(length, 1), 0, {}};
  if (!ram) {
    vm::AccessFilter filter;
    if (kind != gdb::WatchKind::access)
      filter.direction = kind == gdb::WatchKind::write ? vm::Direction::write : vm::Direction::read;
    auto place_at = [text = fmt::format("{:#x}", addr.value), length = watch.length](vm::GuestPhys at) {
      return vm::Place{text, "", vm::Space::mmio, at.value, at.value + length - 1};
    };
    auto resolve = [this, addr, place_at]() -> std::optional<vm::Place> {
      auto now = session_.vcpu().state();
      auto at = now ? vm::translate(*now, session_.memory(), addr) : tl::make_unexpected(now.error());
      if (!at) return std::nullopt;
      return place_at(*at);
    };
    if (gpa) filter.places = {place_at(*gpa)};
    watch.break_id = session_.breaks().add(std::move(filter), 0, gpa ? nullptr : std::function(resolve));
  }
  watches_.push_back(std::move(watch));
  return {};
}

Status DebugTarget::remove_watch(gdb::WatchKind kind, vm::GuestVirt addr, uint64_t length) {
  auto found = std::find_if(watches_.begin(), watches_.end(), [&](const Watch& w) {
    return w.kind == kind && w.addr == addr && w.length == std::max<uint64_t>(length, 1);
  });
  if (found == watches_.end()) return {};
  if (found->break_id != 0) session_.breaks().remove(found->break_id);
  watches_.erase(found);
  return {};
}

bool DebugTarget::watches_memory() const {
  return std::any_of(watches_.begin(), watches_.end(), [](const Watch& w) { return w.break_id == 0; });
}

/// A KVM guest's stores to RAM do not stop it: walk and compare. Exact, and catches DMA too; tens of thousands of steps a
/// second.
Result<gdb::Stop> DebugTarget::walk_until_memory_changes() {
  for (Watch& watch : watches_) {
    watch.before.resize(watch.length);
    watch.before.resize(watch.break_id == 0 ? read_virtual(watch.addr, watch.before) : 0);
  }
  for (;;) {
    TRY_ASSIGN(vm::SessionStop stop, session_.resume(vm::ResumeFor::walk));
    for (Watch& watch : watches_) {
      Bytes now(watch.before.size());
      if (now.empty() || read_virtual(watch.addr, now) != now.size() || now == watch.before) continue;
      gdb::Stop out{.kind = gdb::Stop::Kind::watch, .watch_addr = watch.addr.value, .watch_kind = watch.kind};
      return out;
    }
    if (stop.kind != vm::SessionStop::Kind::step) return convert(stop);
    TRY_ASSIGN(vm::CpuState cpu, registers());
    if (breakpoints_.contains(cpu.linear_rip())) return gdb::Stop{.kind = gdb::Stop::Kind::breakpoint};
  }
}

void DebugTarget::detach() {
  breakpoints_.clear();
  static_cast<void>(apply_breakpoints());
  for (const Watch& watch : watches_) {
    if (watch.break_id != 0) session_.breaks().remove(watch.break_id);
  }
  watches_.clear();
}

}  // namespace dejavm::cli
