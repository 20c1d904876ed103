#include "engine/soft/task_switch.h"

#include <array>

#include "base/bytes.h"
#include "engine/soft/control_registers.h"
#include "engine/soft/descriptors.h"
#include "engine/soft/flags.h"
#include "engine/soft/interrupt_delivery.h"
#include "engine/soft/stack_frame.h"

namespace dejavm::soft {
namespace {

constexpr uint64_t kCr0TaskSwitched = 1u << 3;
constexpr uint64_t kCr0Paging = 1u << 31;
constexpr uint64_t kDr7Local = 0x155;  // L0 to L3 and LE end with their task
constexpr uint64_t kTaskFlags = 0x3f7fd5;
constexpr uint8_t kBusy = 2;

/// Where the fields of a TSS stand; general and segment registers lie in the order of vm::Gpr and vm::SegmentName.
struct TssLayout {
  unsigned size, cr3, ip, flags, gpr, segment, ldt;
  unsigned width;           ///< of IP, flags and general registers
  unsigned segment_stride;  ///< selectors are 2 bytes
  unsigned segment_count;
};
constexpr TssLayout kLayout32{104, 28, 32, 36, 40, 72, 96, 4, 4, 6};
constexpr TssLayout kLayout16{44, 0, 14, 16, 18, 34, 42, 2, 2, 4};  // no CR3, FS and GS

const TssLayout& layout_of(const vm::Segment& tss) { return (tss.type & 8) != 0 ? kLayout32 : kLayout16; }

using TssBytes = std::array<uint8_t, kLayout32.size>;

uint32_t get(const TssBytes& tss, const TssLayout& layout, unsigned offset) {
  return layout.width == 4 ? load_le<uint32_t>(&tss[offset]) : load_le<uint16_t>(&tss[offset]);
}
uint16_t get_selector(const TssBytes& tss, unsigned offset) { return load_le<uint16_t>(&tss[offset]); }

/// Everything but link, stacks, CR3, LDT and I/O map is saved.
void save_task(Core& core, uint64_t return_rip, uint64_t flags) {
  const vm::Segment& tr = core.cpu.tr;
  const TssLayout& layout = layout_of(tr);
  if (tr.limit < layout.size - 1) raise(kInvalidTss, selector_error(tr.selector));
  TssBytes bytes{};
  auto put = [&](unsigned offset, unsigned width, uint64_t value) {
    for (unsigned i = 0; i < width; ++i) bytes[offset + i] = static_cast<uint8_t>(value >> 8 * i);
  };
  put(layout.ip, layout.width, return_rip);
  put(layout.flags, layout.width, flags);
  for (unsigned i = 0; i < 8; ++i) put(layout.gpr + i * layout.width, layout.width, core.cpu.gpr[i]);
  for (unsigned i = 0; i < layout.segment_count; ++i) {
    put(layout.segment + i * layout.segment_stride, layout.segment_stride, core.cpu.segment[i].selector);
  }
  core.memory.write_bytes(static_cast<uint32_t>(tr.base + layout.ip), &bytes[layout.ip], layout.ldt - layout.ip,
                          Rights::system);
}

struct NewTask {
  uint16_t selector = 0;
  uint64_t descriptor = 0;
  vm::Segment tss;
  TssBytes bytes{};
};

NewTask read_task(Core& core, TaskEntry entry, uint16_t selector, uint32_t ext) {
  Vector fault = entry == TaskEntry::iret ? kInvalidTss : kGeneralProtection;
  uint32_t error = selector_error(selector) | ext;
  constexpr uint16_t kLocal = 4;
  uint64_t address = 0;
  if (is_null(selector) || (selector & kLocal) != 0 || !find_descriptor(core, selector, 8, address)) raise(fault, error);
  NewTask task;
  task.selector = selector;
  task.descriptor = core.memory.read<uint64_t>(address, Rights::system);
  task.tss = unpack_descriptor(selector, task.descriptor);
  bool is_tss = task.tss.s == 0 && (task.tss.type & 5) == 1;
  bool busy = (task.tss.type & kBusy) != 0;
  if (!is_tss || busy != (entry == TaskEntry::iret)) raise(fault, error);
  if (task.tss.present == 0) raise(kSegmentNotPresent, error);
  const TssLayout& layout = layout_of(task.tss);
  if (task.tss.limit < layout.size - 1) raise(kInvalidTss, error);
  core.memory.read_bytes(task.tss.base, task.bytes.data(), layout.size, Rights::system);
  return task;
}

/// The debug trap bit, which only the TSS of 32 bits has.
bool traps_on_entry(const NewTask& task) {
  constexpr unsigned kTrapByte = 100;
  return &layout_of(task.tss) == &kLayout32 && (task.bytes[kTrapByte] & 1) != 0;
}

/// The registers of the new task that need no descriptor.
void load_registers(Core& core, const NewTask& task, bool nested) {
  const TssLayout& layout = layout_of(task.tss);
  vm::CpuState& cpu = core.cpu;
  if (layout.cr3 != 0 && (cpu.cr0 & kCr0Paging) != 0) load_cr3(core, get(task.bytes, layout, layout.cr3));
  cpu.rip = get(task.bytes, layout, layout.ip);
  cpu.rflags = (get(task.bytes, layout, layout.flags) & kTaskFlags) | 2;
  if (nested) cpu.rflags |= kNt;
  for (unsigned i = 0; i < 8; ++i) cpu.gpr[i] = get(task.bytes, layout, layout.gpr + i * layout.width);
  uint16_t code = get_selector(task.bytes, layout.segment + vm::cs * layout.segment_stride);
  for (unsigned i = 0; i < layout.segment_count; ++i) {
    cpu.segment[i] = null_segment(get_selector(task.bytes, layout.segment + i * layout.segment_stride));
  }
  cpu.segment[vm::ss].dpl = code & 3;  // the CPL
  cpu.ldt = null_segment(get_selector(task.bytes, layout.ldt));
  cpu.tr = task.tss;
  cpu.tr.type |= kBusy;
  cpu.cr0 |= kCr0TaskSwitched;
  cpu.dr7 &= ~kDr7Local;
  core.state_changed();
}

void load_ldt(Core& core) {
  uint16_t selector = core.cpu.ldt.selector;
  if (is_null(selector)) return;
  constexpr uint16_t kLocal = 4;
  if ((selector & kLocal) != 0) raise(kInvalidTss, selector_error(selector));
  uint64_t descriptor = read_descriptor(core, selector, kInvalidTss);
  bool valid = descriptor_is_system(descriptor) && descriptor_type(descriptor) == kLdt && descriptor_present(descriptor);
  if (!valid) raise(kInvalidTss, selector_error(selector));
  core.cpu.ldt = unpack_descriptor(selector, descriptor);
}

void load_task_code(Core& core) {
  uint16_t selector = core.cpu.segment[vm::cs].selector;
  if (is_null(selector)) raise(kInvalidTss, 0);
  uint64_t descriptor = read_descriptor(core, selector, kInvalidTss);
  unsigned rpl = selector & 3, dpl = descriptor_dpl(descriptor);
  bool privileged = descriptor_conforms(descriptor) ? dpl <= rpl : dpl == rpl;
  if (!descriptor_is_code(descriptor) || !privileged) raise(kInvalidTss, selector_error(selector));
  if (!descriptor_present(descriptor)) raise(kSegmentNotPresent, selector_error(selector));
  load_code_segment(core, selector, descriptor, rpl);
}

void load_segments(Core& core, unsigned count) {
  load_ldt(core);
  if (core.virtual_8086()) {
    for (unsigned i = 0; i < count; ++i) {
      auto name = static_cast<vm::SegmentName>(i);
      core.cpu.segment[i] = shifted_segment(core, name, core.cpu.segment[i].selector);
    }
    core.state_changed();
    return;
  }
  load_task_code(core);
  for (vm::SegmentName name : {vm::ss, vm::es, vm::ds, vm::fs, vm::gs}) {
    if (name < count) load_segment(core, name, core.cpu.segment[name].selector);
  }
}

/// What a segment of a TSS cannot be is the TSS's fault.
GuestFault as_task_fault(GuestFault fault, uint32_t ext) {
  if (fault.vector == kGeneralProtection) fault.vector = kInvalidTss;
  bool names_selector = fault.vector >= kInvalidTss && fault.vector <= kStackFault;
  if (names_selector && fault.error_code) *fault.error_code |= ext;
  return fault;
}

/// False: an exception was delivered in the new task.
bool finish_in_new_task(Core& core, uint32_t ext, std::optional<uint32_t> error_code) {
  const TssLayout& layout = layout_of(core.cpu.tr);
  try {
    load_segments(core, layout.segment_count);
    if (error_code) {
      FrameWriter frame(core, current_stack(core), ext);
      frame.push(layout.width, *error_code);
      frame.install();
    }
    return true;
  } catch (const GuestFault& caught) {
    GuestFault fault = as_task_fault(caught, ext);
    deliver(core, EventKind::exception, fault.vector, fault.error_code, core.cpu.rip);
    return false;
  }
}

}  // namespace

void switch_task(Core& core, TaskEntry entry, uint16_t selector, uint64_t return_rip, uint32_t ext,
                 std::optional<uint32_t> error_code) {
  NewTask task = read_task(core, entry, selector, ext);
  uint16_t old_selector = core.cpu.tr.selector;
  uint64_t old_descriptor = read_descriptor(core, old_selector, kInvalidTss);
  bool nested = entry == TaskEntry::call || entry == TaskEntry::interrupt;
  save_task(core, return_rip, entry == TaskEntry::iret ? core.cpu.rflags & ~kNt : core.cpu.rflags);
  if (!nested) {
    write_descriptor_type(core, old_selector, old_descriptor, descriptor_type(old_descriptor) & ~unsigned{kBusy});
  }
  if (nested) core.memory.write<uint16_t>(task.tss.base, old_selector, Rights::system);
  if (entry != TaskEntry::iret) {
    write_descriptor_type(core, task.selector, task.descriptor, task.tss.type | kBusy);
  }
  load_registers(core, task, nested);
  bool entered = finish_in_new_task(core, ext, error_code);
  if (entered && traps_on_entry(task)) core.memory.watches().note_trap(Watches::kTaskSwitchTrap);
}

void return_from_task(Core& core) {
  auto link = core.memory.read<uint16_t>(static_cast<uint32_t>(core.cpu.tr.base), Rights::system);
  switch_task(core, TaskEntry::iret, link, core.next_rip, 0, std::nullopt);
}

}  // namespace dejavm::soft
