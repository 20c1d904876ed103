#include "engine/kvm/kvm_state.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "engine/kvm/kvm_system.h"

namespace dejavm::kvm {
namespace {

constexpr uint64_t kCr0Et = 1u << 4;
constexpr uint8_t kTypeAccessed = 1;
constexpr uint8_t kTypeBusy = 2;

/// The general registers of kvm_regs in the order of vm::Gpr.
constexpr __u64 kvm_regs::*kGpr[16] = {&kvm_regs::rax, &kvm_regs::rcx, &kvm_regs::rdx, &kvm_regs::rbx,
                                       &kvm_regs::rsp, &kvm_regs::rbp, &kvm_regs::rsi, &kvm_regs::rdi,
                                       &kvm_regs::r8,  &kvm_regs::r9,  &kvm_regs::r10, &kvm_regs::r11,
                                       &kvm_regs::r12, &kvm_regs::r13, &kvm_regs::r14, &kvm_regs::r15};
/// The segments of kvm_sregs in the order of vm::SegmentName.
constexpr kvm_segment kvm_sregs::*kSegment[6] = {&kvm_sregs::es, &kvm_sregs::cs, &kvm_sregs::ss,
                                                 &kvm_sregs::ds, &kvm_sregs::fs, &kvm_sregs::gs};

struct MsrField {
  uint32_t index;
  uint64_t vm::CpuState::*field;
};
/// AMD's KVM keeps 32 bits of where SYSENTER goes, which outside long mode, where AMD's processors have it, is all there is.
uint64_t normal_msr(uint32_t index, uint64_t value) {
  constexpr uint32_t kSysenterEsp = 0x175, kSysenterEip = 0x176;
  return index == kSysenterEsp || index == kSysenterEip ? static_cast<uint32_t>(value) : value;
}

constexpr MsrField kMsrs[] = {
    {0x174, &vm::CpuState::sysenter_cs}, {0x175, &vm::CpuState::sysenter_esp}, {0x176, &vm::CpuState::sysenter_eip},
    {0x277, &vm::CpuState::pat},         {0xc0000081, &vm::CpuState::star},    {0xc0000082, &vm::CpuState::lstar},
    {0xc0000083, &vm::CpuState::cstar},  {0xc0000084, &vm::CpuState::sfmask},  {0xc0000102, &vm::CpuState::kernel_gs_base},
};
using StateMsrs = MsrTable<std::size(kMsrs)>;

enum class SegmentKind { code_or_data, tr, ldt };

/// The form that every processor's KVM agrees on. AMD's has no G bit of its own, takes present for usable, and always
/// shows segments accessed and TR busy.
vm::Segment normal(vm::Segment segment, SegmentKind kind) {
  segment.g = segment.limit > 0xfffff ? 1 : 0;
  if (segment.unusable != 0 || segment.present == 0) {
    segment.unusable = 1;
    segment.present = 0;
    segment.db = 0;
    return segment;
  }
  if (kind == SegmentKind::code_or_data) segment.type |= kTypeAccessed;
  if (kind == SegmentKind::tr) segment.type |= kTypeBusy;
  return segment;
}

/// A null SS of long mode has no attributes of its own but the CPL: processors, emulators and IRET fill in different ones.
/// This is vm::CpuState's form of it.
vm::Segment normal_stack(const vm::Segment& ss, uint64_t efer) {
  constexpr uint64_t kLongModeActive = 1u << 10;
  constexpr uint16_t kIndexAndTable = 0xfffc;
  if ((efer & kLongModeActive) == 0 || (ss.selector & kIndexAndTable) != 0) return ss;
  return {.limit = 0xfff, .selector = ss.selector, .type = 3, .s = 1, .dpl = ss.dpl, .present = 1, .db = 1};
}

vm::Segment from_kvm(const kvm_segment& from, SegmentKind kind) {
  vm::Segment segment{.base = from.base,
                      .limit = from.limit,
                      .selector = from.selector,
                      .type = from.type,
                      .s = from.s,
                      .dpl = from.dpl,
                      .present = from.present,
                      .avl = from.avl,
                      .l = from.l,
                      .db = from.db,
                      .g = from.g,
                      .unusable = from.unusable};
  return normal(segment, kind);
}

kvm_segment to_kvm(const vm::Segment& given, SegmentKind kind) {
  vm::Segment from = normal(given, kind);
  kvm_segment segment{};
  segment.base = from.base;
  segment.limit = from.limit;
  segment.selector = from.selector;
  segment.type = from.type;
  segment.s = from.s;
  segment.dpl = from.dpl;
  segment.present = from.present;
  segment.avl = from.avl;
  segment.l = from.l;
  segment.db = from.db;
  segment.g = from.g;
  segment.unusable = from.unusable;
  return segment;
}

/// The legacy area of XSAVE (AMD64 APM volume 2, section 11.4.4.3) and where its parts stand.
struct FxArea {
  static constexpr size_t kFcw = 0, kFsw = 2, kFtw = 4, kMxcsr = 24, kSt = 32, kXmm = 160, kXstateBv = 512;
  static constexpr uint64_t kX87AndSse = 3;
};

/// The x87 pointers (last opcode, instruction, data) stay zero: KVM's emulator executes x87 instructions in the host, whose
/// addresses they then hold, and AMD's processors keep them only for unmasked exceptions.
void fill_fpu(const kvm_xsave& area, vm::Fpu& fpu) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(area.region);
  fpu.fcw = load_le<uint16_t>(bytes + FxArea::kFcw);
  fpu.fsw = load_le<uint16_t>(bytes + FxArea::kFsw);
  fpu.ftw = bytes[FxArea::kFtw];
  fpu.mxcsr = load_le<uint32_t>(bytes + FxArea::kMxcsr);
  for (size_t i = 0; i < fpu.st.size(); ++i) std::copy_n(bytes + FxArea::kSt + 16 * i, 10, fpu.st[i].begin());
  for (size_t i = 0; i < fpu.xmm.size(); ++i) std::copy_n(bytes + FxArea::kXmm + 16 * i, 16, fpu.xmm[i].begin());
}

kvm_xsave to_kvm(const vm::Fpu& fpu) {
  kvm_xsave area{};
  auto* bytes = reinterpret_cast<uint8_t*>(area.region);
  store_le(bytes + FxArea::kFcw, fpu.fcw);
  store_le(bytes + FxArea::kFsw, fpu.fsw);
  bytes[FxArea::kFtw] = fpu.ftw;
  store_le(bytes + FxArea::kMxcsr, fpu.mxcsr);
  for (size_t i = 0; i < fpu.st.size(); ++i) std::copy_n(fpu.st[i].begin(), 10, bytes + FxArea::kSt + 16 * i);
  for (size_t i = 0; i < fpu.xmm.size(); ++i) std::copy_n(fpu.xmm[i].begin(), 16, bytes + FxArea::kXmm + 16 * i);
  store_le(bytes + FxArea::kXstateBv, FxArea::kX87AndSse);
  return area;
}

uint8_t shadow_from_kvm(uint8_t shadow) {
  // AMD's KVM cannot tell the two apart and says both: STI is what it then is called.
  if ((shadow & KVM_X86_SHADOW_INT_STI) != 0) return 1;
  return (shadow & KVM_X86_SHADOW_INT_MOV_SS) != 0 ? 2 : 0;
}

Status write_system(int vcpu_fd, const vm::CpuState& state, const KvmQuirks& quirks) {
  kvm_sregs sregs{};  // the APIC base is the only field that vm::CpuState does not hold
  TRY(kvm_ioctl(vcpu_fd, KVM_GET_SREGS, "KVM_GET_SREGS", &sregs));
  for (size_t i = 0; i < std::size(kSegment); ++i) sregs.*kSegment[i] = to_kvm(state.segment[i], SegmentKind::code_or_data);
  sregs.tr = to_kvm(state.tr, SegmentKind::tr);
  if (quirks.clear_tr_busy) sregs.tr.type &= static_cast<uint8_t>(~kTypeBusy);
  sregs.ldt = to_kvm(state.ldt, SegmentKind::ldt);
  sregs.gdt = {.base = state.gdt.base, .limit = state.gdt.limit, .padding = {}};
  sregs.idt = {.base = state.idt.base, .limit = state.idt.limit, .padding = {}};
  sregs.cr0 = state.cr0 | kCr0Et;
  sregs.cr2 = state.cr2;
  sregs.cr3 = state.cr3;
  sregs.cr4 = state.cr4;
  sregs.cr8 = state.cr8;
  sregs.efer = state.efer;
  std::memset(sregs.interrupt_bitmap, 0, sizeof sregs.interrupt_bitmap);
  TRY(kvm_ioctl(vcpu_fd, KVM_SET_SREGS, "KVM_SET_SREGS (segments and control registers)", &sregs));
  return {};
}

Status write_general(int vcpu_fd, const vm::CpuState& state) {
  kvm_regs regs{};
  for (size_t i = 0; i < std::size(kGpr); ++i) regs.*kGpr[i] = state.gpr[i];
  regs.rip = state.rip;
  regs.rflags = state.rflags;
  TRY(kvm_ioctl(vcpu_fd, KVM_SET_REGS, "KVM_SET_REGS", &regs));
  return {};
}

Status write_msrs(int vcpu_fd, const vm::CpuState& state) {
  StateMsrs table;
  for (size_t i = 0; i < std::size(kMsrs); ++i) {
    table.entries[i].index = kMsrs[i].index;
    table.entries[i].data = state.*kMsrs[i].field;
  }
  TRY_ASSIGN(int done, kvm_ioctl(vcpu_fd, KVM_SET_MSRS, "KVM_SET_MSRS", &table));
  if (static_cast<size_t>(done) == std::size(kMsrs)) return {};
  const kvm_msr_entry& refused = table.entries[done];
  return fail(fmt::format("KVM refuses the value {:#x} for MSR {:#x}", uint64_t{refused.data}, uint32_t{refused.index}));
}

Status write_debug_and_events(int vcpu_fd, const vm::CpuState& state) {
  kvm_debugregs debug{};
  std::copy(state.dr.begin(), state.dr.end(), debug.db);
  debug.dr6 = state.dr6;
  debug.dr7 = state.dr7;
  TRY(kvm_ioctl(vcpu_fd, KVM_SET_DEBUGREGS, "KVM_SET_DEBUGREGS", &debug));

  kvm_vcpu_events events{};
  events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
  events.nmi.masked = state.nmi_masked;
  if (state.interrupt_shadow == 1) events.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
  if (state.interrupt_shadow == 2) events.interrupt.shadow = KVM_X86_SHADOW_INT_MOV_SS;
  TRY(kvm_ioctl(vcpu_fd, KVM_SET_VCPU_EVENTS, "KVM_SET_VCPU_EVENTS", &events));
  return {};
}

}  // namespace

void fill_registers(const kvm_sync_regs& from, vm::CpuState& to) {
  for (size_t i = 0; i < std::size(kGpr); ++i) to.gpr[i] = from.regs.*kGpr[i];
  to.rip = from.regs.rip;
  to.rflags = from.regs.rflags;
  const kvm_sregs& sregs = from.sregs;
  for (size_t i = 0; i < std::size(kSegment); ++i) to.segment[i] = from_kvm(sregs.*kSegment[i], SegmentKind::code_or_data);
  to.segment[vm::ss] = normal_stack(to.segment[vm::ss], sregs.efer);
  to.tr = from_kvm(sregs.tr, SegmentKind::tr);
  to.ldt = from_kvm(sregs.ldt, SegmentKind::ldt);
  to.gdt = {sregs.gdt.base, sregs.gdt.limit};
  to.idt = {sregs.idt.base, sregs.idt.limit};
  to.cr0 = sregs.cr0 | kCr0Et;
  to.cr2 = sregs.cr2;
  to.cr3 = sregs.cr3;
  to.cr4 = sregs.cr4;
  to.cr8 = sregs.cr8;
  to.efer = sregs.efer;
  to.interrupt_shadow = shadow_from_kvm(from.events.interrupt.shadow);
  to.nmi_masked = from.events.nmi.masked;
}

Result<vm::CpuState> read_state(int vcpu_fd, const kvm_sync_regs& registers) {
  vm::CpuState state;
  fill_registers(registers, state);

  kvm_xsave area{};
  TRY(kvm_ioctl(vcpu_fd, KVM_GET_XSAVE, "KVM_GET_XSAVE", &area));
  fill_fpu(area, state.fpu);

  StateMsrs table;
  for (size_t i = 0; i < std::size(kMsrs); ++i) table.entries[i].index = kMsrs[i].index;
  TRY_ASSIGN(int done, kvm_ioctl(vcpu_fd, KVM_GET_MSRS, "KVM_GET_MSRS", &table));
  if (static_cast<size_t>(done) != std::size(kMsrs)) return fail(fmt::format("KVM has no MSR {:#x}", kMsrs[done].index));
  for (size_t i = 0; i < std::size(kMsrs); ++i) state.*kMsrs[i].field = normal_msr(kMsrs[i].index, table.entries[i].data);

  kvm_debugregs debug{};
  TRY(kvm_ioctl(vcpu_fd, KVM_GET_DEBUGREGS, "KVM_GET_DEBUGREGS", &debug));
  std::copy(std::begin(debug.db), std::end(debug.db), state.dr.begin());
  state.dr6 = debug.dr6;
  state.dr7 = debug.dr7;
  return state;
}

Status write_state(int vcpu_fd, const vm::CpuState& state, const KvmQuirks& quirks) {
  TRY(write_system(vcpu_fd, state, quirks));
  TRY(write_general(vcpu_fd, state));
  kvm_xsave area = to_kvm(state.fpu);
  TRY(kvm_ioctl(vcpu_fd, KVM_SET_XSAVE, "KVM_SET_XSAVE (x87 and SSE registers)", &area));
  TRY(write_msrs(vcpu_fd, state));
  return write_debug_and_events(vcpu_fd, state);
}

}  // namespace dejavm::kvm
