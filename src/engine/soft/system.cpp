// Descriptor-table registers, interrupt flag, HLT, caches, and the binding of all system instructions.
#include "engine/soft/control_registers.h"
#include "engine/soft/decode.h"
#include "engine/soft/descriptors.h"
#include "engine/soft/flags.h"
#include "engine/soft/model_registers.h"
#include "engine/soft/operands.h"
#include "engine/soft/port_ops.h"

namespace dejavm::soft {
namespace {

constexpr uint8_t kStiShadow = 1;

void require_supervisor(const Core& core) {
  if (core.cpl() != 0) raise_gp();
}

/// SGDT, SIDT, SLDT, STR and SMSW tell user programs where the kernel is, unless CR4.UMIP forbids it.
void require_umip_rights(const Core& core) {
  if ((core.cpu.cr4 & kCr4Umip) != 0 && core.cpl() != 0) raise_gp();
}

// ---- GDTR and IDTR

unsigned base_size(const Core& core) { return core.code_bits() == 64 ? 8 : 4; }

vm::DescriptorTable read_table_operand(Core& core, const Instruction& insn) {
  unsigned size = base_size(core);
  uint64_t at = effective_address(core, insn, size + 2, false);
  auto limit = core.memory.read<uint16_t>(at);
  uint64_t base = read_linear(core, at + 2, size);
  if (size == 4 && insn.operand_size == 2) base &= 0xffffff;
  if (size == 8 && !Core::canonical(base)) raise_gp();
  return {base, limit};
}

void load_gdt(Core& core, const Instruction& insn) {
  require_supervisor(core);
  core.cpu.gdt = read_table_operand(core, insn);
}

void load_idt(Core& core, const Instruction& insn) {
  require_supervisor(core);
  core.cpu.idt = read_table_operand(core, insn);
}

void store_table(Core& core, const Instruction& insn, const vm::DescriptorTable& table) {
  require_umip_rights(core);
  unsigned size = base_size(core);
  uint64_t base = size == 4 && insn.operand_size == 2 ? table.base & 0xffffff : table.base;
  uint64_t at = effective_address(core, insn, size + 2, true);
  core.memory.probe_write(at, size + 2);
  core.memory.write<uint16_t>(at, table.limit);
  write_linear(core, at + 2, size, base);
}

void store_gdt(Core& core, const Instruction& insn) { store_table(core, insn, core.cpu.gdt); }
void store_idt(Core& core, const Instruction& insn) { store_table(core, insn, core.cpu.idt); }

// ---- LDTR and TR

/// The descriptor that LLDT or LTR loads; both must be in the GDT.
vm::Segment read_system_segment(Core& core, uint16_t selector, bool (*right_type)(unsigned type), uint64_t& descriptor) {
  constexpr uint16_t kLocal = 4;
  uint32_t error = selector_error(selector);
  if ((selector & kLocal) != 0) raise(kGeneralProtection, error);
  descriptor = read_descriptor(core, selector);
  if (!descriptor_is_system(descriptor) || !right_type(descriptor_type(descriptor))) raise(kGeneralProtection, error);
  if (!descriptor_present(descriptor)) raise(kSegmentNotPresent, error);
  uint64_t high = core.long_mode_active() ? read_descriptor_high(core, selector) : 0;
  vm::Segment segment = unpack_descriptor(selector, descriptor, high);
  if (core.long_mode_active() && !Core::canonical(segment.base)) raise(kGeneralProtection, error);
  return segment;
}

uint16_t word_operand(Core& core, const Instruction& insn) {
  return insn.has_memory ? read_memory<uint16_t>(core, insn) : read_register<uint16_t>(core, insn.reg);
}

void require_protected_supervisor(const Core& core) {
  if (core.segments_are_shifted()) raise(kInvalidOpcode);
  require_supervisor(core);
}

void load_local_table(Core& core, const Instruction& insn) {
  require_protected_supervisor(core);
  uint16_t selector = word_operand(core, insn);
  if (is_null(selector)) {
    // QEMU's TCG leaves the attributes; nothing is in reach of its limit in either case.
    vm::Segment none = core.features.tcg ? core.cpu.ldt : null_segment(selector);
    none.base = none.limit = 0;
    none.selector = selector;
    core.cpu.ldt = none;
    return;
  }
  uint64_t descriptor = 0;
  core.cpu.ldt = read_system_segment(
      core, selector, [](unsigned type) { return type == kLdt; }, descriptor);
}

void load_task_register(Core& core, const Instruction& insn) {
  require_protected_supervisor(core);
  uint16_t selector = word_operand(core, insn);
  if (is_null(selector)) raise_gp();
  uint64_t descriptor = 0;
  auto available = [](unsigned type) { return type == kTss32 || type == kTss16; };
  vm::Segment tss = read_system_segment(core, selector, available, descriptor);
  if (core.long_mode_active() && tss.type != kTss32) raise(kGeneralProtection, selector_error(selector));
  constexpr uint8_t kBusy = 2;
  tss.type |= kBusy;
  write_descriptor_type(core, selector, descriptor, tss.type);
  core.cpu.tr = tss;
}

/// SLDT, STR, SMSW: 16 bits to memory, the operand size to a register.
void store_word(Core& core, const Instruction& insn, uint64_t value) {
  require_umip_rights(core);
  if (insn.has_memory) {
    write_memory<uint16_t>(core, insn, static_cast<uint16_t>(value));
  } else {
    write_register(core, insn.reg, insn.operand_size, value);
  }
}

void store_local_table(Core& core, const Instruction& insn) {
  if (core.segments_are_shifted()) raise(kInvalidOpcode);
  store_word(core, insn, core.cpu.ldt.selector);
}

void store_task_register(Core& core, const Instruction& insn) {
  if (core.segments_are_shifted()) raise(kInvalidOpcode);
  store_word(core, insn, core.cpu.tr.selector);
}

void store_machine_status(Core& core, const Instruction& insn) { store_word(core, insn, core.cpu.cr0); }

// ---- The interrupt flag, HLT, caches

/// CLI and STI without the virtual interrupts of VME and PVI.
void require_interrupt_rights(const Core& core) {
  unsigned iopl = static_cast<unsigned>(core.cpu.rflags >> 12 & 3);
  if (core.cpl() > iopl) raise_gp();
}

void clear_interrupts(Core& core, const Instruction&) {
  require_interrupt_rights(core);
  core.cpu.rflags &= ~kIf;
}

void set_interrupts(Core& core, const Instruction&) {
  require_interrupt_rights(core);
  if ((core.cpu.rflags & kIf) == 0) core.cpu.interrupt_shadow = kStiShadow;
  core.cpu.rflags |= kIf;
}

void halt(Core& core, const Instruction&) {
  require_supervisor(core);
  core.halt();
}

/// INVD, WBINVD: there is no cache.
void invalidate_caches(Core& core, const Instruction&) { require_supervisor(core); }

/// INVLPG: no translation outlives its tables (LinearMemory), so that there is nothing to drop.
void invalidate_page(Core& core, const Instruction&) { require_supervisor(core); }

void set_alignment_check(Core& core, bool value) {
  if (core.cpl() != 0) raise(kInvalidOpcode);
  core.cpu.rflags = value ? core.cpu.rflags | kAc : core.cpu.rflags & ~kAc;
  core.state_changed();
}
void clear_ac(Core& core, const Instruction&) { set_alignment_check(core, false); }
void set_ac(Core& core, const Instruction&) { set_alignment_check(core, true); }

void invalid(Core&, const Instruction&) { raise(kInvalidOpcode); }

// ---- Binding

/// MOV to and from control and debug registers.
bool bind_special_move(const Decoded& decoded, Instruction& insn) {
  for (int i = 0; i < 2; ++i) {
    if (!decoded.is_register(i)) continue;
    ZydisRegister reg = decoded.operands[i].reg.value;
    ZydisRegisterClass kind = ZydisRegisterGetClass(reg);
    if (kind == ZYDIS_REGCLASS_CONTROL) {
      insn.run = i == 0 ? move_to_control : move_from_control;
      insn.other = static_cast<uint8_t>(reg - ZYDIS_REGISTER_CR0);
    } else if (kind == ZYDIS_REGCLASS_DEBUG) {
      insn.run = i == 0 ? move_to_debug : move_from_debug;
      insn.other = static_cast<uint8_t>(reg - ZYDIS_REGISTER_DR0);
    } else {
      continue;
    }
    insn.operand_size = decoded.code_bits == 64 ? 8 : 4;
    insn.ends_block = i == 0;
    return true;
  }
  return false;
}

bool bind_port(const Decoded& decoded, Instruction& insn) {
  bool input = decoded.insn.mnemonic == ZYDIS_MNEMONIC_IN;
  int data = input ? 0 : 1;
  insn.operand_size = static_cast<uint8_t>(decoded.size(data));
  if (decoded.is_immediate(1 - data)) {
    insn.run = input ? in_immediate : out_immediate;
  } else {
    insn.run = input ? in_dx : out_dx;
  }
  return true;
}

struct Binding {
  ZydisMnemonic mnemonic;
  Handler run;
  bool ends_block;
};

/// Instructions that need nothing but what decode() fills in.
constexpr Binding kBindings[] = {
    {ZYDIS_MNEMONIC_LGDT, load_gdt, false},
    {ZYDIS_MNEMONIC_LIDT, load_idt, false},
    {ZYDIS_MNEMONIC_SGDT, store_gdt, false},
    {ZYDIS_MNEMONIC_SIDT, store_idt, false},
    {ZYDIS_MNEMONIC_LLDT, load_local_table, false},
    {ZYDIS_MNEMONIC_LTR, load_task_register, false},
    {ZYDIS_MNEMONIC_LMSW, load_machine_status, true},
    {ZYDIS_MNEMONIC_CLTS, clear_task_switched, true},
    {ZYDIS_MNEMONIC_CLI, clear_interrupts, false},
    {ZYDIS_MNEMONIC_STI, set_interrupts, true},
    {ZYDIS_MNEMONIC_HLT, halt, true},
    {ZYDIS_MNEMONIC_INVD, invalidate_caches, false},
    {ZYDIS_MNEMONIC_WBINVD, invalidate_caches, false},
    {ZYDIS_MNEMONIC_INVLPG, invalidate_page, true},
    {ZYDIS_MNEMONIC_CLAC, clear_ac, true},
    {ZYDIS_MNEMONIC_STAC, set_ac, true},
    {ZYDIS_MNEMONIC_RDMSR, read_model_register, true},
    {ZYDIS_MNEMONIC_WRMSR, write_model_register, true},
    {ZYDIS_MNEMONIC_RDTSC, read_time_stamp, false},
    {ZYDIS_MNEMONIC_RDTSCP, read_time_stamp_and_processor, false},
    {ZYDIS_MNEMONIC_RDPMC, read_performance_counter, true},
    {ZYDIS_MNEMONIC_RDRAND, read_random, false},
    {ZYDIS_MNEMONIC_RDSEED, read_random, false},
    {ZYDIS_MNEMONIC_CPUID, identify, false},
    {ZYDIS_MNEMONIC_MONITOR, invalid, true},
    {ZYDIS_MNEMONIC_MWAIT, invalid, true},
};

/// Those whose operand size is that of a destination register.
constexpr Binding kStores[] = {
    {ZYDIS_MNEMONIC_SLDT, store_local_table, false},
    {ZYDIS_MNEMONIC_STR, store_task_register, false},
    {ZYDIS_MNEMONIC_SMSW, store_machine_status, false},
};

}  // namespace

bool bind_system(const Decoded& decoded, Instruction& insn) {
  ZydisMnemonic mnemonic = decoded.insn.mnemonic;
  if (mnemonic == ZYDIS_MNEMONIC_MOV) return bind_special_move(decoded, insn);
  if (mnemonic == ZYDIS_MNEMONIC_IN || mnemonic == ZYDIS_MNEMONIC_OUT) return bind_port(decoded, insn);
  for (const Binding& binding : kBindings) {
    if (binding.mnemonic != mnemonic) continue;
    insn.run = binding.run;
    insn.ends_block |= binding.ends_block;
    return true;
  }
  for (const Binding& binding : kStores) {
    if (binding.mnemonic != mnemonic) continue;
    insn.run = binding.run;
    insn.operand_size = static_cast<uint8_t>(decoded.size(0));
    return true;
  }
  return false;
}

}  // namespace dejavm::soft
