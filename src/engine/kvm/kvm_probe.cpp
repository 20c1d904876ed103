#include "engine/kvm/kvm_probe.h"

#include <unistd.h>

#include <initializer_list>

#include "engine/kvm/kvm_debug.h"
#include "engine/kvm/kvm_vcpu.h"
#include "vm/startup_state.h"

namespace dejavm::kvm {
namespace {

constexpr uint64_t kMemorySize = 64 << 10;
constexpr uint64_t kPml4 = 0x1000, kPdpt = 0x2000, kPd = 0x3000, kStack = 0x7000, kCode = 0x8000;

/// A guest of a few instructions that ends with HLT whatever happens.
class TinyGuest {
 public:
  static Result<TinyGuest> create(const KvmSystem& system, const ProbeResult& assumed) {
    TRY_ASSIGN(auto memory, vm::GuestMemory::create(kMemorySize, 0));
    auto owned = std::make_unique<vm::GuestMemory>(std::move(memory));
    TRY(owned->set_map({{.base = {0}, .size = kMemorySize, .offset = 0, .writable = true}}));
    TRY_ASSIGN(auto vcpu, create_vcpu(system, assumed, *owned, vm::dejavm64_v1()));
    return TinyGuest(std::move(owned), std::move(vcpu));
  }

  vm::Vcpu& vcpu() { return *vcpu_; }

  Status load(std::initializer_list<uint8_t> code, const vm::CpuState& state) {
    TRY(memory_->write({kCode}, {code.begin(), code.size()}, vm::Writer::loader));
    for (auto [entry, value] : {std::pair{kPml4, kPdpt | 3}, {kPdpt, kPd | 3}, {kPd, uint64_t{0x83}}}) {
      TRY(memory_->write({entry}, {reinterpret_cast<const uint8_t*>(&value), sizeof value}, vm::Writer::loader));
    }
    return vcpu_->set_state(state);
  }

 private:
  TinyGuest(std::unique_ptr<vm::GuestMemory> memory, std::unique_ptr<vm::Vcpu> vcpu)
      : memory_(std::move(memory)), vcpu_(std::move(vcpu)) {}

  std::unique_ptr<vm::GuestMemory> memory_;
  std::unique_ptr<vm::Vcpu> vcpu_;
};

vm::CpuState real_mode() {
  vm::CpuState state = vm::real_mode_state(kCode);
  state.gpr[vm::rsp] = kStack;
  return state;
}

vm::CpuState long_mode() {
  vm::CpuState state = vm::long_mode_state(kCode, kPml4);
  state.gpr[vm::rsp] = kStack;
  return state;
}

template <typename Wanted>
bool runs_to(vm::Vcpu& vcpu, vm::RunMode mode) {
  auto exit = vcpu.run(mode);
  return exit && std::holds_alternative<Wanted>(*exit);
}

/// nop; nop; hlt
constexpr std::initializer_list<uint8_t> kNops = {0x90, 0x90, 0xf4};

bool long_mode_works(const KvmSystem& system, const ProbeResult& assumed) {
  auto guest = TinyGuest::create(system, assumed);
  return guest && guest->load(kNops, long_mode()) && runs_to<vm::Halted>(guest->vcpu(), vm::RunMode::free);
}

bool steps(TinyGuest& guest, const vm::CpuState& start) {
  vm::Vcpu& vcpu = guest.vcpu();
  return guest.load(kNops, start) && runs_to<vm::Stepped>(vcpu, vm::RunMode::step) &&
         vcpu.quick_registers().rip == kCode + 1 && runs_to<vm::Stepped>(vcpu, vm::RunMode::step) &&
         vcpu.quick_registers().rip == kCode + 2;
}

bool breaks(TinyGuest& guest, const vm::CpuState& start) {
  vm::Vcpu& vcpu = guest.vcpu();
  const vm::GuestVirt at[] = {{kCode + 1}};
  if (!guest.load(kNops, start) || !vcpu.set_breakpoints(at)) return false;
  bool hit = runs_to<vm::BreakpointHit>(vcpu, vm::RunMode::free) && vcpu.quick_registers().rip == kCode + 1 &&
             runs_to<vm::Halted>(vcpu, vm::RunMode::free);
  return vcpu.set_breakpoints({}) && hit;
}

/// The window must open after the one instruction behind STI, also when many instructions ran before.
bool window_exact(TinyGuest& guest, uint32_t iterations) {
  vm::Vcpu& vcpu = guest.vcpu();
  vm::CpuState start = long_mode();
  start.gpr[vm::rcx] = iterations;
  // again: dec ecx; jnz again; sti; 8 x inc ebx; hlt
  auto code = {uint8_t{0xff}, uint8_t{0xc9}, uint8_t{0x75}, uint8_t{0xfc}, uint8_t{0xfb}, uint8_t{0xff},
               uint8_t{0xc3}, uint8_t{0xff}, uint8_t{0xc3}, uint8_t{0xff}, uint8_t{0xc3}, uint8_t{0xff},
               uint8_t{0xc3}, uint8_t{0xff}, uint8_t{0xc3}, uint8_t{0xff}, uint8_t{0xc3}, uint8_t{0xff},
               uint8_t{0xc3}, uint8_t{0xff}, uint8_t{0xc3}, uint8_t{0xf4}};
  if (!guest.load(code, start)) return false;
  vcpu.request_window(true);
  bool exact = runs_to<vm::WindowOpen>(vcpu, vm::RunMode::free) && vcpu.quick_registers().gpr[vm::rbx] == 1;
  vcpu.request_window(false);
  return exact;
}

bool window_exact(TinyGuest& guest) {
  for (uint32_t iterations : {1u, 10u, 1'000u, 3u, 300u, 5'000u, 2u, 77u}) {
    if (!window_exact(guest, iterations)) return false;
  }
  return true;
}

/// sti; inc ebx; inc ebx; hlt, from behind STI on and in its shadow: as after an exit of the host's that came there.
bool loses_shadow(TinyGuest& guest) {
  vm::Vcpu& vcpu = guest.vcpu();
  vm::CpuState start = long_mode();
  ++start.rip;
  start.rflags |= vm::kRflagsIf;
  start.interrupt_shadow = 1;
  if (!guest.load({0xfb, 0xff, 0xc3, 0xff, 0xc3, 0xf4}, start)) return false;
  vcpu.request_window(true);
  bool lost = runs_to<vm::WindowOpen>(vcpu, vm::RunMode::free) && vcpu.quick_registers().gpr[vm::rbx] == 0;
  vcpu.request_window(false);
  return lost;
}

/// rep stosb with a count of 3; hlt: the first step must leave two iterations.
bool steps_rep_by_element(TinyGuest& guest) {
  vm::CpuState start = long_mode();
  start.gpr[vm::rcx] = 3;
  start.gpr[vm::rdi] = kStack;
  return guest.load({0xf3, 0xaa, 0xf4}, start) && runs_to<vm::Stepped>(guest.vcpu(), vm::RunMode::step) &&
         guest.vcpu().quick_registers().gpr[vm::rcx] == 2;
}

/// addps xmm0, xmm0; hlt. Hosts that interpret ring 0 do not have it. The vCPU may be lost.
bool runs_kernels(TinyGuest& guest) {
  return guest.load({0x0f, 0x58, 0xc0, 0xf4}, long_mode()) && runs_to<vm::Halted>(guest.vcpu(), vm::RunMode::free);
}

/// The status flags behind `code`, which ends with HLT, where RAX held `value` and all flags were clear.
uint64_t flags_after(TinyGuest& guest, std::initializer_list<uint8_t> code, uint64_t value) {
  constexpr uint64_t kStatusFlags = 0x8d5;
  vm::CpuState start = long_mode();
  start.gpr[vm::rax] = value;
  if (!guest.load(code, start) || !runs_to<vm::Halted>(guest.vcpu(), vm::RunMode::free)) return 0;
  return guest.vcpu().quick_registers().rflags & kStatusFlags;
}

/// By flags that the manuals leave undefined: what the CPU calls itself tells nothing of who emulates it.
vm::CpuKind cpu_kind(TinyGuest& guest) {
  constexpr uint64_t kSignOfSource = 0x84;  // of BSF: SF and PF, as of a logical operation
  bool shift_sets_half_carry = flags_after(guest, {0xc1, 0xe0, 0x04, 0xf4}, 1) == 0x10;  // shl eax, 4; hlt
  uint64_t scan = flags_after(guest, {0x0f, 0xbc, 0xc0, 0xf4}, 0x80000000);              // bsf eax, eax; hlt: 31
  bool scan_keeps = flags_after(guest, {0x0f, 0xbc, 0xc0, 0xf4}, 0x8) == 0;              // 3: an even number of ones
  if (!shift_sets_half_carry && scan == kSignOfSource) return vm::CpuKind::tcg;
  return shift_sets_half_carry && scan_keeps ? vm::CpuKind::amd_zen3 : vm::CpuKind::amd;
}

/// rep bsf eax, eax; hlt, with 0: CF where it is TZCNT, ZF where it is BSF.
bool counts_zeros(TinyGuest& guest) { return (flags_after(guest, {0xf3, 0x0f, 0xbc, 0xc0, 0xf4}, 0) & 1) != 0; }

std::string module_name() {
  for (const char* name : {"kvm_amd", "kvm_intel", "kvm_pvm"}) {
    if (::access(fmt::format("/sys/module/{}", name).c_str(), F_OK) == 0) return name;
  }
  return "module unknown";
}

std::string describe(const ProbeResult& found) {
  const vm::VcpuCapabilities& can = found.capabilities;
  std::string text = fmt::format("kvm ({}: single-step {}", module_name(), can.single_step ? "works" : "does not work");
  if (can.single_step && !found.steps_rep_by_element) text += ", rep string instructions step many elements at once";
  text += found.debug_breakpoints ? ", hardware breakpoints work" : ", hardware breakpoints do not work";
  if (!found.debug_breakpoints && can.hardware_breakpoints) text += " (HLT is planted for those in ring 0)";
  text += can.exact_window ? ", interrupt window exact" : ", interrupt window not exact";
  text += ", undefined flags of " + vm::name(found.cpu_kind);
  if (!found.runs_kernels) text += ", ring 0 is interpreted and lacks instructions";
  if (!found.exact_cpuid) text += ", the host changes the CPUID table";
  if (found.quirks.loses_shadow) text += ", the shadow of STI gets lost";
  if (found.quirks.clear_tr_busy) text += ", TR loses its busy bit";
  return text + ")";
}

}  // namespace

Result<ProbeResult> probe(const KvmSystem& system) {
  ProbeResult assumed;
  assumed.capabilities = {.exact_window = true,
                          .hardware_breakpoints = true,
                          .max_breakpoints = kMaxHardwareBreakpoints,
                          .single_step = true,
                          .description = "kvm (being probed)"};
  assumed.debug_breakpoints = true;
  if (!long_mode_works(system, assumed)) {
    assumed.quirks.clear_tr_busy = true;
    if (!long_mode_works(system, assumed)) {
      return fail("the host's KVM does not run a guest of three instructions in long mode",
                  "Look into the kernel's log (dmesg) for what KVM says.");
    }
  }
  TRY_ASSIGN(TinyGuest guest, TinyGuest::create(system, assumed));
  ProbeResult found;
  found.quirks = assumed.quirks;
  found.capabilities.single_step = steps(guest, real_mode()) && steps(guest, long_mode());
  found.debug_breakpoints = breaks(guest, real_mode()) && breaks(guest, long_mode());
  bool breakpoints = found.debug_breakpoints;
  if (!breakpoints) {
    assumed.debug_breakpoints = false;
    TRY_ASSIGN(TinyGuest halting, TinyGuest::create(system, assumed));
    breakpoints = breaks(halting, real_mode()) && breaks(halting, long_mode());
  }
  found.capabilities.hardware_breakpoints = breakpoints;
  found.capabilities.hidden_breakpoints = found.debug_breakpoints;
  found.capabilities.max_breakpoints = breakpoints ? kMaxHardwareBreakpoints : 0;
  found.capabilities.exact_window = window_exact(guest);
  found.quirks.loses_shadow = found.capabilities.exact_window && loses_shadow(guest);
  found.steps_rep_by_element = steps_rep_by_element(guest);
  found.cpu_kind = cpu_kind(guest);
  found.counts_zeros = counts_zeros(guest);
  found.runs_kernels = runs_kernels(guest);
  TRY_ASSIGN(vm::CpuModel seen, effective_model(system, vm::dejavm64_v1()));
  found.exact_cpuid = seen == vm::dejavm64_v1();
  found.capabilities.description = describe(found);
  return found;
}

}  // namespace dejavm::kvm
