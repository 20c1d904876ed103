#include "guests.h"

#include <cpuid.h>

#include <cstring>

#include "base/check.h"
#include "engine/kvm/kvm_model.h"
#include "engine/kvm/kvm_vcpu.h"
#include "engine/soft/soft_vcpu.h"

namespace dejavm::differential {
namespace {

constexpr size_t kManyAccesses = 64;     // of one run: beyond any that is not a REP over devices
constexpr uint64_t kManySteps = 300000;  // beyond a REP over all of RAM

uint64_t device_answer(const vm::Access& access) { return access.addr * 0x9e3779b97f4a7c15 ^ 0x5851f42d4c957f2d; }

/// Instructions that the CPU executes for a guest whatever CPUID tells it: soft gets them, too.
void show_hidden(vm::CpuModel& model) {
  constexpr uint32_t kStandard = 1 << 0 | 1 << 1 | 1 << 9 | 1 << 19 | 1 << 20 | 1 << 25;  // SSE3 to SSE4.2, PCLMUL, AES
  constexpr uint32_t kExtended = 1 << 6;                                                  // SSE4a
  constexpr uint32_t kFlush = 1 << 19;                                                    // CLFLUSH
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  for (vm::CpuidLeaf& leaf : model.cpuid) {
    uint32_t shown = leaf.function == 1 ? kStandard : leaf.function == 0x80000001 ? kExtended : 0;
    if (shown == 0 || __get_cpuid(leaf.function, &eax, &ebx, &ecx, &edx) == 0) continue;
    leaf.ecx |= ecx & shown;
    if (leaf.function == 1) leaf.edx |= edx & kFlush;
  }
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

const char* name(Engine engine) {
  switch (engine) {
    case Engine::kvm:
      return "kvm";
    case Engine::interpreter:
      return "interpreter";
    case Engine::translator:
      return "translator";
  }
  return "";
}

uint64_t frame_of(Mode mode, const vm::CpuState& state, uint8_t vector) {
  constexpr uint32_t kWithErrorCode = 1u << 8 | 0x1fu << 10 | 1u << 17;
  if (mode == Mode::real16) return state.segment[vm::ss].base + static_cast<uint16_t>(state.gpr[vm::rsp]);
  bool has_code = (kWithErrorCode >> vector & 1) != 0;
  return state.gpr[vm::rsp] + (has_code ? code_bits(mode) / 8 : 0);
}

Result<Guests::Side> Guests::make_side() {
  TRY_ASSIGN(vm::GuestMemory memory, vm::GuestMemory::create(kRamSize, 0));
  TRY(memory.set_map({{.base = {0}, .size = kRamSize, .offset = 0, .writable = true}}));
  return Side{std::move(memory), nullptr};
}

Guests::Guests(std::unique_ptr<kvm::KvmHost> host, vm::CpuModel model, std::vector<Side> sides)
    : host_(std::move(host)), model_(std::move(model)), sides_(std::move(sides)) {}

Result<std::unique_ptr<Guests>> Guests::create() {
  TRY_ASSIGN(auto host, kvm::KvmHost::open());
  TRY_ASSIGN(vm::CpuModel model, kvm::effective_model(*host, vm::dejavm64_v1()));
  show_hidden(model);
  TRY_ASSIGN(auto guests, make(std::move(host), std::move(model)));
  TRY(guests->make_kvm_vcpu());
  return guests;
}

Result<std::unique_ptr<Guests>> Guests::create_without_kvm(vm::CpuModel model) { return make(nullptr, std::move(model)); }

Result<std::unique_ptr<Guests>> Guests::make(std::unique_ptr<kvm::KvmHost> host, vm::CpuModel model) {
  std::vector<Side> sides;
  for (Engine engine : {Engine::kvm, Engine::interpreter, Engine::translator}) {
    TRY_ASSIGN(Side side, make_side());
    CHECK(sides.size() == static_cast<size_t>(engine));
    sides.push_back(std::move(side));
  }
  auto guests = std::unique_ptr<Guests>(new Guests(std::move(host), std::move(model), std::move(sides)));
  for (Engine engine : kSoftEngines) {
    auto how = engine == Engine::translator ? soft::Execution::translate_at_once : soft::Execution::interpret;
    Side& side = guests->side(engine);
    TRY_ASSIGN(side.vcpu, soft::create_vcpu(side.memory, guests->model_, how));
  }
  return guests;
}

Status Guests::make_kvm_vcpu() {
  watchdog_.reset();
  Side& kvm = side(Engine::kvm);
  kvm.vcpu.reset();
  TRY_ASSIGN(kvm.vcpu, kvm::create_vcpu(*host_, kvm.memory, model_));
  watchdog_ = std::make_unique<Watchdog>(*kvm.vcpu);
  return {};
}

void Guests::enter(Mode mode) {
  image_ = make_image(mode, model_.kind == vm::CpuKind::tcg);
  reset();
}

void Guests::reset(Side& side, uint64_t page) {
  ByteSpan image(image_.ram.data() + page, vm::kPageSize);
  CHECK(side.memory.write({page}, image, vm::Writer::loader).has_value());
}

void Guests::reset(Side& side) {
  for (uint64_t at = 0; at < kRamSize; at += vm::kPageSize) {
    if (std::memcmp(side.memory.host(at), image_.ram.data() + at, vm::kPageSize) != 0) reset(side, at);
  }
}

void Guests::reset_soft() {
  for (Engine engine : kSoftEngines) reset(side(engine));
}

void Guests::reset() {
  for (Side& side : sides_) reset(side);
}

void Guests::write_kvm(uint64_t gpa, ByteSpan bytes) {
  CHECK(side(Engine::kvm).memory.write({gpa}, bytes, vm::Writer::loader).has_value());
}

std::vector<uint32_t> Guests::changed_pages() const {
  std::vector<uint32_t> pages;
  for (uint32_t at = 0; at < kRamSize; at += vm::kPageSize) {
    if (std::memcmp(ram(Engine::kvm) + at, image_.ram.data() + at, vm::kPageSize) != 0) pages.push_back(at);
  }
  return pages;
}

void Guests::restore_kvm(const std::vector<uint32_t>& pages) {
  for (uint32_t page : pages) reset(side(Engine::kvm), page);
}

void Guests::write_soft(uint64_t gpa, ByteSpan bytes) {
  for (Engine engine : kSoftEngines) CHECK(side(engine).memory.write({gpa}, bytes, vm::Writer::loader).has_value());
}

void Guests::write(uint64_t gpa, ByteSpan bytes) {
  write_kvm(gpa, bytes);
  write_soft(gpa, bytes);
}

std::optional<uint64_t> Guests::first_difference(Engine first, Engine second) const {
  const uint8_t *a = ram(first), *b = ram(second);
  if (std::memcmp(a, b, kRamSize) == 0) return std::nullopt;
  uint64_t at = 0;
  while (a[at] == b[at]) ++at;
  return at;
}

/// Whether the exit was a request, which now has its answer.
bool Guests::answer(Side& side, const vm::Exit& exit) {
  if (const auto* access = std::get_if<vm::DeviceAccess>(&exit)) {
    if (!access->access.is_write()) side.vcpu->reply(device_answer(access->access));
    return true;
  }
  if (!std::holds_alternative<vm::MsrAccess>(exit)) return false;
  side.vcpu->reply_fault();
  return true;
}

/// Read from the frame, if a handler's HLT ended the run.
std::optional<Fault> Guests::fault(const Side& side, const vm::CpuState& state) const {
  uint64_t halt = state.linear_rip() - 1;
  if (halt < kHandlers || halt >= kHandlers + kVectors * kHandlerSize || (halt - kHandlers) % kHandlerSize != 0) {
    return std::nullopt;
  }
  auto vector = static_cast<uint8_t>((halt - kHandlers) / kHandlerSize);
  uint64_t at = frame_of(image_.mode, state, vector);
  size_t width = code_bits(image_.mode) / 8;
  Fault found{vector, 0};
  if (at > kRamSize - width) return found;
  std::memcpy(&found.address, side.memory.host(at), width);
  if (image_.mode == Mode::real16) found.address += kCode;
  return found;
}

/// Until HLT or what ends a guest.
Outcome Guests::run(Side& side, const vm::CpuState& state) {
  Outcome outcome;
  if (auto set = side.vcpu->set_state(state); !set) {
    outcome.error = set.error().what;
    return outcome;
  }
  uint64_t steps = side.vcpu->steps();
  for (;;) {
    auto exit = side.vcpu->run(vm::RunMode::free);
    if (!exit) {
      outcome.error = first_line(exit.error().what);
      break;
    }
    if (answer(side, *exit)) {
      if (const auto* access = std::get_if<vm::DeviceAccess>(&*exit)) outcome.accesses.push_back(access->access);
      if (outcome.accesses.size() < kManyAccesses) continue;
      outcome.kind = Outcome::Kind::endless;
      return outcome;
    }
    outcome.kind = std::holds_alternative<vm::Halted>(*exit)          ? Outcome::Kind::halted
                   : std::holds_alternative<vm::Shutdown>(*exit)      ? Outcome::Kind::shutdown
                   : std::holds_alternative<vm::BreakpointHit>(*exit) ? Outcome::Kind::stopped
                                                                      : Outcome::Kind::endless;
    break;
  }
  outcome.steps = side.vcpu->steps() - steps;
  if (auto now = side.vcpu->state()) outcome.state = *now;
  // KVM's state has no x87 pointers (engine/kvm/kvm_state.cpp).
  outcome.state.fpu.last_opcode = 0;
  outcome.state.fpu.last_ip = outcome.state.fpu.last_dp = 0;
  if (outcome.kind == Outcome::Kind::halted) outcome.fault = fault(side, outcome.state);
  return outcome;
}

Result<Outcome> Guests::run_kvm(const vm::CpuState& state) {
  watchdog_->begin();
  Outcome outcome = run(side(Engine::kvm), state);
  watchdog_->end();
  if (outcome.kind == Outcome::Kind::failed) {
    // By kvm.ko's emulator, or because a kick could not end the delivery of an event.
    outcome.kind = watchdog_->kicked() ? Outcome::Kind::endless : Outcome::Kind::stopped;
  }
  if (outcome.kind == Outcome::Kind::endless) TRY(make_kvm_vcpu());  // it may stand in the middle of an access
  return outcome;
}

Outcome Guests::run_soft(Engine engine, const vm::CpuState& state, std::optional<uint64_t> stop) {
  Side& side = this->side(engine);
  vm::GuestVirt at{stop.value_or(0)};
  CHECK(side.vcpu->set_breakpoints({&at, stop ? size_t{1} : size_t{0}}).has_value());
  side.vcpu->set_step_limit(side.vcpu->steps() + kManySteps);
  return run(side, state);
}

std::optional<Outcome> Guests::run_changed(const vm::CpuState& state, std::optional<uint64_t> stop, uint64_t at,
                                           const std::function<void(vm::CpuState&)>& change) {
  vm::CpuState changed = state;
  std::vector<vm::Access> accesses;
  if (state.linear_rip() != at) {
    Outcome there = run_soft(Engine::interpreter, state, at);
    if (there.kind != Outcome::Kind::stopped) return std::nullopt;
    changed = there.state;
    accesses = std::move(there.accesses);
  }
  change(changed);
  if (stop == changed.linear_rip()) {  // where a run begins no breakpoint ends it
    Outcome here;
    here.kind = Outcome::Kind::stopped;
    here.state = changed;
    here.accesses = std::move(accesses);
    return here;
  }
  Outcome outcome = run_soft(Engine::interpreter, changed, stop);
  accesses.insert(accesses.end(), outcome.accesses.begin(), outcome.accesses.end());
  outcome.accesses = std::move(accesses);
  return outcome;
}

std::vector<Guests::Place> Guests::trace(const vm::CpuState& state, size_t limit) {
  std::vector<Place> places;
  Side& side = this->side(Engine::interpreter);
  if (!side.vcpu->set_state(state)) return places;
  while (places.size() < limit) {
    uint64_t rip = side.vcpu->quick_registers().linear_rip();
    places.push_back({rip, rip < kRamSize ? *side.memory.host(rip) : uint8_t{0}});
    auto exit = side.vcpu->run(vm::RunMode::step);
    while (exit && answer(side, *exit)) exit = side.vcpu->run(vm::RunMode::step);
    if (!exit || !std::holds_alternative<vm::Stepped>(*exit)) break;
  }
  return places;
}

}  // namespace dejavm::differential
