#include "gdbstub/registers.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "gdbstub/register_table.h"
#include "gdbstub/x87_tags.h"

namespace dejavm::gdb {

static_assert(kRegisters.size() == kRegisterCount && kRegisters[kRip].name == "rip" && kRip == kRipNumber);
static_assert(kRegisters[kFsBase].name == "fs_base" && kRegisters[kCr0].name == "cr0" && kRegisters[kEfer].name == "efer");
static_assert(kRegisters[kFirstSt].name == "st0" && kRegisters[kFop].name == "fop" && kRegisters[kFirstXmm].name == "xmm0");
static_assert(kRegisters[kFirstMm].name == "mm0" && kRegisters[kPacketRegisterCount].name == "mm0");
static_assert(kRegisters[kGdtLimit].name == "gdt_limit" && kRegisters[kTrBase].name == "tr_base");
static_assert(kRegisters[kStar].name == "star" && kRegisters[kPat].name == "pat" && kRegisters[kDr7].name == "dr7");

namespace {

using vm::CpuState;

/// GDB counts the first eight in another order than instructions do.
constexpr std::array<vm::Gpr, 16> kGprOrder = {vm::rax, vm::rbx, vm::rcx, vm::rdx, vm::rsi, vm::rdi, vm::rbp, vm::rsp,
                                               vm::r8,  vm::r9,  vm::r10, vm::r11, vm::r12, vm::r13, vm::r14, vm::r15};
constexpr std::array<vm::SegmentName, 6> kSegmentOrder = {vm::cs, vm::ss, vm::ds, vm::es, vm::fs, vm::gs};

constexpr uint64_t kProtectedMode = 1;       // CR0.PE
constexpr uint64_t kVirtual8086 = 1u << 17;  // RFLAGS.VM
constexpr uint64_t kRflagsAlwaysOne = 1u << 1;

/// Whether a segment's base is its selector times 16 (AMD64 APM volume 2, sections 4.1 and 8.11).
bool bases_follow_selectors(const CpuState& state) {
  return (state.cr0 & kProtectedMode) == 0 || (state.rflags & kVirtual8086) != 0;
}

void write_selector(CpuState& state, vm::SegmentName name, uint16_t selector) {
  vm::Segment& segment = state.segment[name];
  if (segment.selector == selector) return;
  segment.selector = selector;
  if (bases_follow_selectors(state)) segment.base = uint64_t{selector} << 4;
}

/// The reverse of CpuState::linear_rip().
void write_linear_rip(CpuState& state, uint64_t linear) {
  state.rip = state.code_bits() == 64 ? linear : static_cast<uint32_t>(linear - state.cs_base());
}

void replace_low(uint64_t& whole, uint64_t low) { whole = (whole & ~uint64_t{0xffffffff}) | (low & 0xffffffff); }
void replace_high(uint64_t& whole, uint64_t high) { whole = (whole & 0xffffffff) | (high << 32); }

/// The 64-bit field that a register shows as it is; nullptr for the others.
template <typename State>
auto* plain_register(State& state, unsigned number) {
  if (number < kRip) return &state.gpr[kGprOrder[number]];
  if (number >= kFirstSegmentBase && number < kGdtBase)
    return &state.segment[kSegmentOrder[number - kFirstSegmentBase]].base;
  if (number >= kFirstDr && number < kDr6) return &state.dr[number - kFirstDr];
  switch (number) {
    case kFsBase:
      return &state.segment[vm::fs].base;
    case kGsBase:
      return &state.segment[vm::gs].base;
    case kKernelGsBase:
      return &state.kernel_gs_base;
    case kCr0:
      return &state.cr0;
    case kCr2:
      return &state.cr2;
    case kCr3:
      return &state.cr3;
    case kCr4:
      return &state.cr4;
    case kCr8:
      return &state.cr8;
    case kEfer:
      return &state.efer;
    case kGdtBase:
      return &state.gdt.base;
    case kIdtBase:
      return &state.idt.base;
    case kLdtBase:
      return &state.ldt.base;
    case kTrBase:
      return &state.tr.base;
    case kStar:
      return &state.star;
    case kLstar:
      return &state.lstar;
    case kCstar:
      return &state.cstar;
    case kSfmask:
      return &state.sfmask;
    case kSysenterCs:
      return &state.sysenter_cs;
    case kSysenterEsp:
      return &state.sysenter_esp;
    case kSysenterEip:
      return &state.sysenter_eip;
    case kPat:
      return &state.pat;
    case kDr6:
      return &state.dr6;
    case kDr7:
      return &state.dr7;
    default:
      return static_cast<decltype(&state.cr0)>(nullptr);
  }
}

/// The 16 bits of a table's limit or a system segment's selector; nullptr for the others.
template <typename State>
auto* half_register(State& state, unsigned number) {
  switch (number) {
    case kGdtLimit:
      return &state.gdt.limit;
    case kIdtLimit:
      return &state.idt.limit;
    case kLdt:
      return &state.ldt.selector;
    case kTr:
      return &state.tr.selector;
    default:
      return static_cast<decltype(&state.gdt.limit)>(nullptr);
  }
}

/// The x87 register behind an MMX register (AMD64 APM volume 1, section 5.3.1): they are numbered by place, not from the
/// top.
template <typename Fpu>
auto& st_of_mm(Fpu& fpu, unsigned number) {
  const unsigned top = (fpu.fsw >> 11) & 7u;
  return fpu.st[(number - kFirstMm - top) & 7u];
}

bool is_mm(unsigned number) { return number >= kFirstMm && number < kFirstSegmentBase; }

/// The x87 control registers and MXCSR. The x87 pointers are 64 bits wide; their segment registers show the upper halves.
uint64_t read_fpu_control(const vm::Fpu& fpu, unsigned number) {
  switch (number) {
    case kFctrl:
      return fpu.fcw;
    case kFstat:
      return fpu.fsw;
    case kFtag:
      return full_tags(fpu);
    case kFiseg:
      return fpu.last_ip >> 32;
    case kFioff:
      return fpu.last_ip;
    case kFoseg:
      return fpu.last_dp >> 32;
    case kFooff:
      return fpu.last_dp;
    case kFop:
      return fpu.last_opcode;
    default:
      CHECK(number == kMxcsr);
      return fpu.mxcsr;
  }
}

void write_fpu_control(vm::Fpu& fpu, unsigned number, uint64_t value) {
  switch (number) {
    case kFctrl:
      fpu.fcw = static_cast<uint16_t>(value);
      return;
    case kFstat:
      fpu.fsw = static_cast<uint16_t>(value);
      return;
    case kFtag:
      fpu.ftw = abridged_tags(static_cast<uint16_t>(value));
      return;
    case kFiseg:
      return replace_high(fpu.last_ip, value);
    case kFioff:
      return replace_low(fpu.last_ip, value);
    case kFoseg:
      return replace_high(fpu.last_dp, value);
    case kFooff:
      return replace_low(fpu.last_dp, value);
    case kFop:
      fpu.last_opcode = static_cast<uint16_t>(value);
      return;
    default:
      CHECK(number == kMxcsr);
      fpu.mxcsr = static_cast<uint32_t>(value);
  }
}

bool is_selector(unsigned number) { return number >= kFirstSegment && number < kFsBase; }

/// The registers of at most 8 bytes.
uint64_t read_scalar(const CpuState& state, unsigned number) {
  if (const uint64_t* plain = plain_register(state, number)) return *plain;
  if (is_selector(number)) return state.segment[kSegmentOrder[number - kFirstSegment]].selector;
  if (number == kRip) return state.linear_rip();
  if (number == kEflags) return state.rflags;
  if (is_mm(number)) return load_le<uint64_t>(st_of_mm(state.fpu, number).data());
  if (const uint16_t* half = half_register(state, number)) return *half;
  return read_fpu_control(state.fpu, number);
}

void write_scalar(CpuState& state, unsigned number, uint64_t value) {
  if (uint64_t* plain = plain_register(state, number)) {
    *plain = value;
  } else if (is_selector(number)) {
    write_selector(state, kSegmentOrder[number - kFirstSegment], static_cast<uint16_t>(value));
  } else if (number == kRip) {
    write_linear_rip(state, value);
  } else if (number == kEflags) {
    state.rflags = value | kRflagsAlwaysOne;
  } else if (is_mm(number)) {
    store_le(st_of_mm(state.fpu, number).data(), value);
  } else if (uint16_t* half = half_register(state, number)) {
    *half = static_cast<uint16_t>(value);
  } else {
    write_fpu_control(state.fpu, number, value);
  }
}

/// The 16 bytes behind an st or xmm register; nullptr for the others.
template <typename State>
auto* wide_register(State& state, unsigned number) {
  if (number >= kFirstSt && number < kFctrl) return &state.fpu.st[number - kFirstSt];
  if (number >= kFirstXmm && number < kMxcsr) return &state.fpu.xmm[number - kFirstXmm];
  return static_cast<decltype(&state.fpu.st[0])>(nullptr);
}

}  // namespace

unsigned register_size(uint64_t number) { return number < kRegisterCount ? kRegisters[number].size : 0; }

Bytes read_register(const CpuState& state, unsigned number) {
  CHECK(number < kRegisterCount);
  const unsigned size = kRegisters[number].size;
  if (const auto* wide = wide_register(state, number)) return Bytes(wide->begin(), wide->begin() + size);
  std::array<uint8_t, 8> bytes{};
  store_le(bytes.data(), read_scalar(state, number));
  return Bytes(bytes.begin(), bytes.begin() + size);
}

void write_register(CpuState& state, unsigned number, ByteSpan value) {
  CHECK(number < kRegisterCount && value.size() == kRegisters[number].size);
  if (auto* wide = wide_register(state, number)) {
    std::copy(value.begin(), value.end(), wide->begin());
    return;
  }
  std::array<uint8_t, 8> bytes{};
  std::copy(value.begin(), value.end(), bytes.begin());
  write_scalar(state, number, load_le<uint64_t>(bytes.data()));
}

Bytes read_registers(const CpuState& state) {
  Bytes all;
  for (unsigned number = 0; number < kPacketRegisterCount; ++number) {
    const Bytes one = read_register(state, number);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

bool write_registers(CpuState& state, ByteSpan values) {
  size_t total = 0;
  for (unsigned number = 0; number < kPacketRegisterCount; ++number) total += kRegisters[number].size;
  if (values.size() != total) return false;
  ByteSpan rip;
  for (unsigned number = 0; number < kPacketRegisterCount; ++number) {
    const ByteSpan value = values.first(kRegisters[number].size);
    if (number == kRip) {
      rip = value;
    } else {
      write_register(state, number, value);
    }
    values = values.subspan(value.size());
  }
  // Last, because what a linear rip means depends on the code segment and the mode.
  write_register(state, kRip, rip);
  return true;
}

}  // namespace dejavm::gdb
