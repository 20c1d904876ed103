#include "engine/soft/model_registers.h"

#include <Zydis/Zydis.h>

#include "engine/soft/control_registers.h"
#include "engine/soft/flags.h"
#include "engine/soft/operands.h"

namespace dejavm::soft {
namespace {

constexpr uint32_t kMsrTsc = 0x10, kMsrSysenterCs = 0x174, kMsrSysenterEsp = 0x175, kMsrSysenterEip = 0x176, kMsrPat = 0x277,
                   kMsrEfer = 0xc0000080, kMsrStar = 0xc0000081, kMsrLstar = 0xc0000082, kMsrCstar = 0xc0000083,
                   kMsrSfmask = 0xc0000084, kMsrFsBase = 0xc0000100, kMsrGsBase = 0xc0000101, kMsrKernelGsBase = 0xc0000102;

constexpr uint64_t kEferSce = 1u << 0, kEferLme = 1u << 8, kEferLma = 1u << 10, kEferNxe = 1u << 11;
constexpr uint64_t kCr0Paging = 1u << 31;

/// The register when it is one that the CPU keeps.
uint64_t* state_register(vm::CpuState& cpu, uint32_t index) {
  switch (index) {
    case kMsrSysenterCs:
      return &cpu.sysenter_cs;
    case kMsrSysenterEsp:
      return &cpu.sysenter_esp;
    case kMsrSysenterEip:
      return &cpu.sysenter_eip;
    case kMsrPat:
      return &cpu.pat;
    case kMsrEfer:
      return &cpu.efer;
    case kMsrStar:
      return &cpu.star;
    case kMsrLstar:
      return &cpu.lstar;
    case kMsrCstar:
      return &cpu.cstar;
    case kMsrSfmask:
      return &cpu.sfmask;
    case kMsrFsBase:
      return &cpu.segment[vm::fs].base;
    case kMsrGsBase:
      return &cpu.segment[vm::gs].base;
    case kMsrKernelGsBase:
      return &cpu.kernel_gs_base;
    default:
      return nullptr;
  }
}

bool pat_is_valid(uint64_t pat) {
  for (unsigned i = 0; i < 8; ++i) {
    uint64_t type = pat >> 8 * i & 0xff;
    if (type > 7 || type == 2 || type == 3) return false;
  }
  return true;
}

uint64_t checked_efer(const Core& core, uint64_t value) {
  uint64_t allowed = kEferSce | kEferLme | kEferLma;
  if (core.features.nx) allowed |= kEferNxe;
  if ((value & ~allowed) != 0) raise_gp();
  bool paging = (core.cpu.cr0 & kCr0Paging) != 0;
  if (paging && ((value ^ core.cpu.efer) & kEferLme) != 0) raise_gp();
  return (value & ~kEferLma) | (core.cpu.efer & kEferLma);
}

/// What the register holds after a write of `value`; raises #GP.
uint64_t checked_value(const Core& core, uint32_t index, uint64_t value) {
  switch (index) {
    case kMsrEfer:
      return checked_efer(core, value);
    case kMsrPat:
      if (!pat_is_valid(value)) raise_gp();
      return value;
    case kMsrLstar:
    case kMsrCstar:
    case kMsrFsBase:
    case kMsrGsBase:
    case kMsrKernelGsBase:
      if (!Core::canonical(value)) raise_gp();
      return value;
    case kMsrSysenterEsp:
    case kMsrSysenterEip:
      return static_cast<uint32_t>(value);  // as KVM for AMD's processors, which have SYSENTER outside long mode only
    default:
      return value;
  }
}

void require_supervisor(const Core& core) {
  if (core.cpl() != 0) raise_gp();
}

/// The x2APIC's registers: the local APIC is no x2APIC. KVM takes no write there, and asks for what is read.
void refuse_x2apic(uint32_t index) {
  if (index >= 0x800 && index <= 0x8ff) raise_gp();
}

void write_halves(Core& core, uint64_t value) {
  core.cpu.gpr[vm::rax] = static_cast<uint32_t>(value);
  core.cpu.gpr[vm::rdx] = value >> 32;
}

void check_time_stamp_rights(const Core& core) {
  if ((core.cpu.cr4 & kCr4TimeStampDisable) != 0 && core.cpl() != 0) raise_gp();
}

const vm::CpuidLeaf* find_leaf(const vm::CpuModel& model, uint32_t function, uint32_t index) {
  for (const vm::CpuidLeaf& leaf : model.cpuid) {
    if (leaf.function == function && (!leaf.indexed || leaf.index == index)) return &leaf;
  }
  return nullptr;
}

/// The first bytes of the vendor's name are enough: "Auth" and "Hygo" are the CPUs that answer with zeros.
bool answers_zero_out_of_range(const vm::CpuidLeaf& basic) { return basic.ebx == 0x68747541 || basic.ebx == 0x6f677948; }

const vm::CpuidLeaf* find_out_of_range(const vm::CpuModel& model, uint32_t function, uint32_t index) {
  const vm::CpuidLeaf* basic = find_leaf(model, 0, 0);
  if (basic == nullptr || answers_zero_out_of_range(*basic)) return nullptr;
  bool hypervisor = function >= 0x40000000 && function <= 0x4fffffff;
  uint32_t first = hypervisor ? function & 0xffffff00 : function >= 0xc0000000 ? 0xc0000000 : function & 0x80000000;
  const vm::CpuidLeaf* range = find_leaf(model, first, 0);
  if (range != nullptr && function <= range->eax) return nullptr;
  return find_leaf(model, basic->eax, index);
}

vm::UntrappedKind untrapped_kind(const Instruction& insn) {
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_RDTSCP:
      return vm::UntrappedKind::rdtscp;
    case ZYDIS_MNEMONIC_RDRAND:
      return vm::UntrappedKind::rdrand;
    case ZYDIS_MNEMONIC_RDSEED:
      return vm::UntrappedKind::rdseed;
    default:
      return vm::UntrappedKind::rdtsc;
  }
}

}  // namespace

void read_model_register(Core& core, const Instruction&) {
  require_supervisor(core);
  auto index = static_cast<uint32_t>(core.cpu.gpr[vm::rcx]);
  if (const uint64_t* kept = state_register(core.cpu, index)) {
    write_halves(core, *kept);
  } else if (index == kMsrTsc && core.features.tsc) {
    write_halves(core, core.time_stamp());
  } else {
    write_halves(core, core.exchange_msr(index, false, 0));
  }
}

void write_model_register(Core& core, const Instruction&) {
  require_supervisor(core);
  auto index = static_cast<uint32_t>(core.cpu.gpr[vm::rcx]);
  refuse_x2apic(index);
  uint64_t value = static_cast<uint32_t>(core.cpu.gpr[vm::rax]) | core.cpu.gpr[vm::rdx] << 32;
  uint64_t* kept = state_register(core.cpu, index);
  if (kept == nullptr) {
    core.exchange_msr(index, true, value);
    return;
  }
  *kept = checked_value(core, index, value);
  if (index == kMsrEfer) {
    core.state_changed();
    core.memory.flush();
  }
}

void read_time_stamp(Core& core, const Instruction&) {
  check_time_stamp_rights(core);
  core.note_untrapped(vm::UntrappedKind::rdtsc);
  write_halves(core, core.time_stamp());
}

void read_time_stamp_and_processor(Core& core, const Instruction&) {
  check_time_stamp_rights(core);
  core.note_untrapped(vm::UntrappedKind::rdtscp);
  write_halves(core, core.time_stamp());
  core.cpu.gpr[vm::rcx] = 0;  // TSC_AUX is not part of this CPU's state: processor 0, node 0
}

void read_performance_counter(Core&, const Instruction&) { raise_gp(); }  // it has none

void read_random(Core& core, const Instruction& insn) {
  core.note_untrapped(untrapped_kind(insn));
  // A finalizer of 64-bit hashes (splitmix64): each step's value has nothing visible to do with the next one's.
  uint64_t value = core.steps + 0x9e3779b97f4a7c15;
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  value = (value ^ value >> 27) * 0x94d049bb133111eb;
  value ^= value >> 31;
  write_register(core, insn.reg, insn.operand_size, value);
  core.cpu.rflags = (core.cpu.rflags & ~kStatusFlags) | kCf;
}

void refuse_untrapped(Core& core, const Instruction& insn) {
  core.note_untrapped(untrapped_kind(insn), true);
  raise(kInvalidOpcode);
}

vm::CpuidLeaf cpuid_answer(const vm::CpuModel& model, uint32_t function, uint32_t index) {
  const vm::CpuidLeaf* leaf = find_leaf(model, function, index);
  if (leaf == nullptr) leaf = find_out_of_range(model, function, index);
  if (leaf != nullptr) return *leaf;
  vm::CpuidLeaf answer;
  bool topology = function == 0xb || function == 0x1f;
  const vm::CpuidLeaf* first = topology ? find_leaf(model, function, 1) : nullptr;
  if (first != nullptr) {  // levels that do not exist still name the level and the processor
    answer.ecx = index & 0xff;
    answer.edx = first->edx;
  }
  return answer;
}

void identify(Core& core, const Instruction&) {
  auto function = static_cast<uint32_t>(core.cpu.gpr[vm::rax]);
  auto index = static_cast<uint32_t>(core.cpu.gpr[vm::rcx]);
  vm::CpuidLeaf answer = cpuid_answer(core.model, function, index);
  core.cpu.gpr[vm::rax] = answer.eax;
  core.cpu.gpr[vm::rbx] = answer.ebx;
  core.cpu.gpr[vm::rcx] = answer.ecx;
  core.cpu.gpr[vm::rdx] = answer.edx;
}

}  // namespace dejavm::soft
