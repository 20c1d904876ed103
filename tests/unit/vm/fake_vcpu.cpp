#include "fake_vcpu.h"

#include "base/check.h"

namespace dejavm::vm {
namespace {

Op access_op(Op::Kind kind, Space space, Direction direction, uint64_t addr, uint8_t size,
             std::optional<uint64_t> value = std::nullopt) {
  return {.kind = kind, .access = {space, direction, size, addr, 0}, .value = value};
}

}  // namespace

Op nop() { return {}; }
Op read(uint64_t addr, uint8_t size) { return access_op(Op::Kind::read, Space::mmio, Direction::read, addr, size); }
Op write(uint64_t addr, std::optional<uint64_t> value, uint8_t size) {
  return access_op(Op::Kind::write, Space::mmio, Direction::write, addr, size, value);
}
Op in(uint16_t port) { return access_op(Op::Kind::read, Space::pio, Direction::read, port, 1); }
Op out(uint16_t port, std::optional<uint64_t> value) {
  return access_op(Op::Kind::write, Space::pio, Direction::write, port, 1, value);
}
Op increment(uint64_t addr) {
  Op op = access_op(Op::Kind::read_modify_write, Space::mmio, Direction::read, addr, 4);
  op.length = 3;
  return op;
}
Op store(uint64_t addr) { return {.kind = Op::Kind::store, .number = addr}; }
Op halt() { return {.kind = Op::Kind::halt}; }
Op cli() { return {.kind = Op::Kind::cli}; }
Op sti() { return {.kind = Op::Kind::sti}; }
Op iret() { return {.kind = Op::Kind::iret}; }
Op jump(uint64_t target) { return {.kind = Op::Kind::jump, .number = target}; }
Op loop(uint64_t target) { return {.kind = Op::Kind::loop, .number = target}; }
Op rdmsr(uint32_t index) { return {.kind = Op::Kind::rdmsr, .number = index}; }
Op wrmsr(uint32_t index, uint64_t value) { return {.kind = Op::Kind::wrmsr, .value = value, .number = index}; }
Op rdtsc() { return {.kind = Op::Kind::rdtsc}; }
Op triple_fault() { return {.kind = Op::Kind::triple_fault}; }

Program& Program::add(uint64_t addr, std::initializer_list<Op> code) {
  for (const Op& op : code) {
    ops[addr] = op;
    addr += op.length;
  }
  return *this;
}

FakeVcpu::FakeVcpu(GuestMemory& memory, Program program) : memory_(memory), program_(std::move(program)) {}

CpuState FakeVcpu::start_state() {
  CpuState state;
  state.cr0 = 0x11;
  for (Segment& segment : state.segment) segment = {.limit = 0xffffffff, .type = 3, .s = 1, .present = 1, .db = 1, .g = 1};
  state.segment[cs].type = 11;
  state.rip = kCode;
  state.gpr[rsp] = 0x4000;
  return state;
}

Status FakeVcpu::set_state(const CpuState& state) {
  CHECK(!pending_ && !injected_);  // only at a consistent point
  state_ = state;
  return {};
}

bool FakeVcpu::open() const { return interrupts_enabled() && state_.interrupt_shadow == 0 && !injected_; }

Status FakeVcpu::interrupt(uint8_t vector) {
  CHECK(open() && !pending_);
  injected_ = vector;
  return {};
}

Status FakeVcpu::nmi() {
  CHECK(!pending_ && !injected_);
  injected_ = 2;
  return {};
}

Status FakeVcpu::set_breakpoints(std::span<const GuestVirt> addresses) {
  if (addresses.size() > can.max_breakpoints) return fail("too many breakpoints");
  breakpoints_.clear();
  for (GuestVirt addr : addresses) breakpoints_.insert(addr.value);
  return {};
}

Status FakeVcpu::set_watchpoints(std::span<const Watchpoint> wanted) {
  if (wanted.size() > can.max_watchpoints) return fail("too many watchpoints");
  watchpoints.assign(wanted.begin(), wanted.end());
  return {};
}

Status FakeVcpu::collect_dirty() {
  for (uint64_t page : dirty_) memory_.mark_dirty(page);
  dirty_.clear();
  return {};
}

Result<Exit> FakeVcpu::run(RunMode mode) {
  if (on_run) on_run();
  if (auto exit = complete_access()) return *exit;
  if (mode == RunMode::complete) return Exit{Completed{}};
  if (mode == RunMode::free) ++free_runs;
  bool may_break = false;
  for (uint64_t executed = 0;; ++executed) {
    if (mode == RunMode::free && (kicked_.exchange(false) || executed == slice || (kick_now && kick_now()))) {
      return Exit{Interrupted{}};
    }
    if (deliver()) may_break = true;
    if (auto exit = interruption(mode, may_break)) return *exit;
    if (on_instruction) on_instruction();
    TRY_ASSIGN(auto exit, execute());
    if (exit) return *exit;
    if (mode == RunMode::step) {
      ++steps;
      return Exit{Stepped{}};
    }
    may_break = true;
  }
}

/// What ends a free run before the next instruction.
std::optional<Exit> FakeVcpu::interruption(RunMode mode, bool may_break) {
  if (mode != RunMode::free) return std::nullopt;
  open_for_ = window_wanted_ && open() ? open_for_ + 1 : 0;
  if (open_for_ > window_lag) {
    open_for_ = 0;
    return WindowOpen{};
  }
  if (may_break && breakpoints_.contains(state_.linear_rip())) return BreakpointHit{{state_.linear_rip()}};
  return std::nullopt;
}

bool FakeVcpu::deliver() {
  if (!injected_) return false;
  delivered.push_back(*injected_);
  push(state_.rflags);
  push(state_.rip);
  state_.rip = Program::handler_address(*injected_);
  state_.rflags &= ~kRflagsIf;
  injected_.reset();
  return true;
}

std::optional<Exit> FakeVcpu::complete_access() {
  if (!pending_) return std::nullopt;
  auto [op, second] = *pending_;
  pending_.reset();
  bool reads = op.kind == Op::Kind::read || op.kind == Op::Kind::rdmsr || op.kind == Op::Kind::read_modify_write;
  if (!reads || second) return std::nullopt;
  state_.rip += op.length;
  uint64_t value = op.kind == Op::Kind::rdmsr ? answer_ : low_bytes(answer_, op.access.size);
  if (op.kind != Op::Kind::read_modify_write) {
    state_.gpr[rax] = value;
    return std::nullopt;
  }
  Access writing = op.access;
  writing.direction = Direction::write;
  writing.value = low_bytes(value + 1, op.access.size);
  pending_ = {op, true};
  return DeviceAccess{writing, std::nullopt};
}

Result<std::optional<Exit>> FakeVcpu::execute() {
  auto found = program_.ops.find(state_.rip);
  if (found == program_.ops.end()) return fail(fmt::format("no instruction at {:#x}", state_.rip));
  state_.interrupt_shadow = 0;
  return execute(found->second);
}

std::optional<Exit> FakeVcpu::execute(const Op& op) {
  answer_ = 0;
  GuestVirt here{state_.rip};
  bool stays = op.kind == Op::Kind::read || op.kind == Op::Kind::read_modify_write || op.kind == Op::Kind::rdmsr;
  if (!stays) state_.rip += op.length;
  Access access = op.access;
  switch (op.kind) {
    case Op::Kind::nop:
      return std::nullopt;
    case Op::Kind::read:
    case Op::Kind::read_modify_write:
      pending_ = {op};
      return DeviceAccess{access, access.space == Space::mmio ? std::optional(here) : std::nullopt};
    case Op::Kind::write:
      pending_ = {op};
      access.value = low_bytes(op.value.value_or(state_.gpr[rax]), access.size);
      return DeviceAccess{access, std::nullopt};
    case Op::Kind::store:
      store_bytes(op.number + 8 * state_.gpr[rcx], state_.gpr[rax]);
      return std::nullopt;
    case Op::Kind::halt:
      return Halted{};
    case Op::Kind::cli:
      state_.rflags &= ~kRflagsIf;
      return std::nullopt;
    case Op::Kind::sti:
      if (!interrupts_enabled()) state_.interrupt_shadow = 1;
      state_.rflags |= kRflagsIf;
      return std::nullopt;
    case Op::Kind::iret:
      state_.rip = pop();
      state_.rflags = pop();
      return std::nullopt;
    case Op::Kind::jump:
      state_.rip = op.number;
      return std::nullopt;
    case Op::Kind::loop:
      if (--state_.gpr[rcx] != 0) state_.rip = op.number;
      return std::nullopt;
    case Op::Kind::rdmsr:
    case Op::Kind::wrmsr:
      pending_ = {op};
      return MsrAccess{static_cast<uint32_t>(op.number), op.kind == Op::Kind::wrmsr, op.value.value_or(0)};
    case Op::Kind::rdtsc:
      untrapped_.note({.at = here, .kind = UntrappedKind::rdtsc});
      state_.gpr[rax] = time_stamp++;
      return std::nullopt;
    case Op::Kind::triple_fault:
      return Shutdown{};
  }
  return std::nullopt;
}

void FakeVcpu::store_bytes(uint64_t gpa, uint64_t value) {
  CHECK(gpa + 8 <= memory_.ram_size());
  store_le(memory_.host(gpa), value);
  dirty_.insert(gpa / kPageSize);
  dirty_.insert((gpa + 7) / kPageSize);
}

void FakeVcpu::push(uint64_t value) {
  state_.gpr[rsp] -= 8;
  store_bytes(state_.gpr[rsp], value);
}

uint64_t FakeVcpu::pop() {
  uint64_t value = load_le<uint64_t>(memory_.host(state_.gpr[rsp]));
  state_.gpr[rsp] += 8;
  return value;
}

}  // namespace dejavm::vm
