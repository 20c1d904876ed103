#include "engine/soft/control_registers.h"

#include <array>
#include <cstring>
#include <utility>

#include "engine/soft/operands.h"

namespace dejavm::soft {
namespace {

constexpr uint64_t kPe = 1u << 0, kTs = 1u << 3, kEt = 1u << 4, kWp = 1u << 16, kNw = 1u << 29, kCd = 1u << 30,
                   kPg = 1u << 31;
/// PE MP EM TS ET NE WP AM NW CD PG. Writing others is without effect.
constexpr uint64_t kCr0Bits = 0xe005003f;

constexpr uint64_t kPse = 1u << 4, kPae = 1u << 5, kPge = 1u << 7, kPcide = 1u << 17, kSmep = 1u << 20, kSmap = 1u << 21;
/// VME PVI TSD DE PSE PAE MCE PGE PCE OSFXSR OSXMMEXCPT: KVM lets every guest set them.
constexpr uint64_t kCr4Always = 0x7ff;
// What changes how tables are read. Not PGE: no translation outlives its tables (LinearMemory).
constexpr uint64_t kCr4Paging = kPse | kPae | kSmep | kSmap;

constexpr uint64_t kEferLme = 1u << 8, kEferLma = 1u << 10;
constexpr uint64_t kCr3NoFlush = uint64_t{1} << 63;

constexpr uint64_t kCr4Debug = 1u << 3;
constexpr uint64_t kDr6Bits = 0xe00f, kDr6Fixed = 0xffff0ff0, kDr6Detected = 1u << 13, kDr6Traps = 15;
constexpr uint64_t kDr7Bits = 0xffff2bff, kDr7Fixed = 0x400, kDr7GeneralDetect = 1u << 13;

void require_supervisor(const Core& core) {
  if (core.cpl() != 0) raise_gp();
}

uint64_t above_physical(const Core& core) { return ~((uint64_t{1} << core.features.physical_bits) - 1); }

/// The four entries that legacy PAE paging starts with must have no reserved bit set where they are present. (They are read
/// again at each walk.)
bool pointer_table_is_valid(Core& core, uint64_t cr3) {
  std::array<uint64_t, 4> entries{};
  std::array<uint8_t, sizeof entries> bytes{};
  if (!core.memory.memory().read({cr3 & 0xffffffe0}, bytes).has_value()) return false;
  std::memcpy(entries.data(), bytes.data(), sizeof entries);
  uint64_t reserved = above_physical(core) | 0x1e6;
  for (uint64_t entry : entries) {
    if ((entry & 1) != 0 && (entry & reserved) != 0) return false;
  }
  return true;
}

bool uses_pointer_table(uint64_t cr0, uint64_t cr4, uint64_t efer) {
  return (cr0 & kPg) != 0 && (cr4 & kPae) != 0 && (efer & kEferLme) == 0;
}

void load_cr4(Core& core, uint64_t value) {
  vm::CpuState& cpu = core.cpu;
  const Features& features = core.features;
  uint64_t allowed = kCr4Always;
  if (features.umip) allowed |= kCr4Umip;
  if (features.fsgsbase) allowed |= kCr4FsGsBase;
  if (features.pcid) allowed |= kPcide;
  if (features.smep) allowed |= kSmep;
  if (features.smap) allowed |= kSmap;
  if ((value & ~allowed) != 0) raise_gp();
  uint64_t changed = value ^ cpu.cr4;
  if (core.long_mode_active() && (value & kPae) == 0) raise_gp();
  if ((changed & value & kPcide) != 0 && (!core.long_mode_active() || (cpu.cr3 & 0xfff) != 0)) raise_gp();
  bool new_table = uses_pointer_table(cpu.cr0, value, cpu.efer) && (changed & (kPge | kPse | kPae | kSmep)) != 0;
  if (new_table && !pointer_table_is_valid(core, cpu.cr3)) raise_gp();
  cpu.cr4 = value;
  core.state_changed();
  if ((changed & kCr4Paging) != 0) core.memory.flush();
}

/// 4 and 5 are other names of 6 and 7, unless CR4.DE takes them away.
unsigned debug_register(Core& core, const Instruction& insn) {
  require_supervisor(core);
  unsigned number = insn.other;
  if (number > 7) raise(kInvalidOpcode);
  if (number == 4 || number == 5) {
    if ((core.cpu.cr4 & kCr4Debug) != 0) raise(kInvalidOpcode);
    number += 2;
  }
  if ((core.cpu.dr7 & kDr7GeneralDetect) != 0) {
    core.cpu.dr6 = (core.cpu.dr6 & ~kDr6Traps) | kDr6Detected | kDr6Fixed;
    raise(kDebug);
  }
  return number;
}

}  // namespace

void load_cr0(Core& core, uint64_t value) {
  vm::CpuState& cpu = core.cpu;
  if (value >> 32 != 0 || ((value & kNw) != 0 && (value & kCd) == 0)) raise_gp();
  if ((value & kPg) != 0 && (value & kPe) == 0) raise_gp();
  value = (value & kCr0Bits) | kEt;
  uint64_t changed = value ^ cpu.cr0;
  uint64_t efer = cpu.efer;
  if ((value & kPg) != 0) {
    bool enters_long_mode = (efer & kEferLme) != 0 && (changed & kPg) != 0;
    if (enters_long_mode && ((cpu.cr4 & kPae) == 0 || cpu.segment[vm::cs].l != 0)) raise_gp();
    bool new_table = uses_pointer_table(value, cpu.cr4, efer) && (changed & (kCd | kNw | kPg)) != 0;
    if (new_table && !pointer_table_is_valid(core, cpu.cr3)) raise_gp();
    if (enters_long_mode) efer |= kEferLma;
  } else {
    if (core.code_bits() == 64 || (cpu.cr4 & kPcide) != 0) raise_gp();
    efer &= ~kEferLma;
  }
  cpu.cr0 = value;
  cpu.efer = efer;
  core.state_changed();
  if ((changed & (kPg | kWp | kPe)) != 0) core.memory.flush();
}

void load_cr3(Core& core, uint64_t value) {
  vm::CpuState& cpu = core.cpu;
  if ((cpu.cr4 & kPcide) != 0) value &= ~kCr3NoFlush;
  if ((value & above_physical(core)) != 0) raise_gp();
  if (uses_pointer_table(cpu.cr0, cpu.cr4, cpu.efer) && !pointer_table_is_valid(core, value)) raise_gp();
  if (uint64_t before = std::exchange(cpu.cr3, value); before != value) core.memory.root_changed(before);
}

void move_to_control(Core& core, const Instruction& insn) {
  require_supervisor(core);
  uint64_t value = read_register(core, insn.reg, insn.operand_size);
  switch (insn.other) {
    case 0:
      return load_cr0(core, value);
    case 2:
      core.cpu.cr2 = value;
      return;
    case 3:
      return load_cr3(core, value);
    case 4:
      return load_cr4(core, value);
    case 8:
      if (value > 15) raise_gp();
      core.cpu.cr8 = value;
      return;
    default:
      raise(kInvalidOpcode);
  }
}

void move_from_control(Core& core, const Instruction& insn) {
  require_supervisor(core);
  uint64_t value = 0;
  switch (insn.other) {
    case 0:
      value = core.cpu.cr0;
      break;
    case 2:
      value = core.cpu.cr2;
      break;
    case 3:
      value = core.cpu.cr3;
      break;
    case 4:
      value = core.cpu.cr4;
      break;
    case 8:
      value = core.cpu.cr8;
      break;
    default:
      raise(kInvalidOpcode);
  }
  write_register(core, insn.reg, insn.operand_size, value);
}

void move_to_debug(Core& core, const Instruction& insn) {
  uint64_t value = read_register(core, insn.reg, insn.operand_size);
  unsigned number = debug_register(core, insn);
  if (number < 4) {
    core.cpu.dr[number] = value;
    core.memory.debug_registers_changed();
    return;
  }
  if (value >> 32 != 0) raise_gp();
  if (number == 6) {
    core.cpu.dr6 = (value & kDr6Bits) | kDr6Fixed;
  } else {
    core.cpu.dr7 = (value & kDr7Bits) | kDr7Fixed;
    core.memory.debug_registers_changed();
  }
}

void move_from_debug(Core& core, const Instruction& insn) {
  unsigned number = debug_register(core, insn);
  uint64_t value = number < 4 ? core.cpu.dr[number] : number == 6 ? core.cpu.dr6 : core.cpu.dr7;
  write_register(core, insn.reg, insn.operand_size, value);
}

void load_machine_status(Core& core, const Instruction& insn) {
  require_supervisor(core);
  uint64_t status = insn.has_memory ? read_memory<uint16_t>(core, insn) : read_register<uint16_t>(core, insn.reg);
  constexpr uint64_t kChangeable = 0xe;  // and PE can be set, but not cleared
  load_cr0(core, (core.cpu.cr0 & ~kChangeable) | (status & 0xf));
}

void clear_task_switched(Core& core, const Instruction&) {
  require_supervisor(core);
  core.cpu.cr0 &= ~kTs;
  core.state_changed();
}

}  // namespace dejavm::soft
