#include "engine/soft/descriptors.h"

#include "engine/soft/segment_limits.h"

namespace dejavm::soft {
namespace {

constexpr uint16_t kTableBit = 4;

void load_protected_segment(Core& core, vm::SegmentName name, uint16_t selector) {
  if (is_null(selector)) {
    if (name != vm::ss) {
      core.cpu.segment[name] = null_segment(selector);
      return;
    }
    bool allowed = core.code_bits() == 64 && core.cpl() != 3 && (selector & 3u) == core.cpl();
    if (!allowed) raise_gp();
    core.cpu.segment[vm::ss] = null_stack_segment(selector, core.cpl());
    return;
  }
  if (name == vm::ss) {
    uint64_t descriptor = read_stack_descriptor(core, selector, core.cpl(), kGeneralProtection);
    core.cpu.segment[vm::ss] = take_segment(core, selector, descriptor, Loader::move);
    return;
  }
  uint64_t descriptor = read_descriptor(core, selector);
  unsigned type = descriptor_type(descriptor), dpl = descriptor_dpl(descriptor);
  bool readable = (type & kTypeCode) == 0 || (type & kTypeWritableOrReadable) != 0;
  bool privileged = descriptor_conforms(descriptor) || (core.cpl() <= dpl && (selector & 3u) <= dpl);
  if (descriptor_is_system(descriptor) || !readable || !privileged) raise(kGeneralProtection, selector_error(selector));
  if (!descriptor_present(descriptor)) raise(kSegmentNotPresent, selector_error(selector));
  core.cpu.segment[name] = take_segment(core, selector, descriptor, Loader::move);
}

}  // namespace

vm::Segment unpack_descriptor(uint16_t selector, uint64_t low, uint64_t high) {
  vm::Segment segment;
  segment.selector = selector;
  segment.base = (low >> 16 & 0xffffff) | (low >> 32 & 0xff000000) | high << 32;
  auto limit = static_cast<uint32_t>((low & 0xffff) | (low >> 32 & 0xf0000));
  bool in_pages = (low >> 55 & 1) != 0;
  segment.limit = in_pages ? limit << 12 | 0xfff : limit;
  segment.type = static_cast<uint8_t>(descriptor_type(low));
  segment.s = descriptor_is_system(low) ? 0 : 1;
  segment.dpl = static_cast<uint8_t>(descriptor_dpl(low));
  segment.present = descriptor_present(low) ? 1 : 0;
  segment.avl = static_cast<uint8_t>(low >> 52 & 1);
  segment.l = descriptor_is_64_bit_code(low) ? 1 : 0;
  segment.db = descriptor_is_32_bit(low) ? 1 : 0;
  segment.g = segment.limit > 0xfffff ? 1 : 0;  // the form that every KVM agrees on: by the limit, not by the descriptor
  return segment;
}

bool find_descriptor(const Core& core, uint16_t selector, unsigned size, uint64_t& address) {
  bool local = (selector & kTableBit) != 0;
  const vm::Segment& ldt = core.cpu.ldt;
  if (local && ldt.unusable != 0) return false;
  uint64_t base = local ? ldt.base : core.cpu.gdt.base;
  uint32_t limit = local ? ldt.limit : core.cpu.gdt.limit;
  uint32_t offset = selector & ~7u;
  address = base + offset;
  if (!core.long_mode_active()) address = static_cast<uint32_t>(address);
  return offset + size - 1 <= limit;
}

uint64_t read_descriptor(Core& core, uint16_t selector, Vector fault) {
  uint64_t address = 0;
  if (!find_descriptor(core, selector, 8, address)) raise(fault, selector_error(selector));
  return core.memory.read<uint64_t>(address, Rights::system);
}

uint64_t read_descriptor_high(Core& core, uint16_t selector) {
  uint64_t address = 0;
  if (!find_descriptor(core, selector, 16, address)) raise(kGeneralProtection, selector_error(selector));
  return core.memory.read<uint64_t>(address + 8, Rights::system);
}

void mark_accessed(Core& core, uint16_t selector, uint64_t descriptor) {
  unsigned type = descriptor_type(descriptor);
  if ((type & kTypeAccessed) == 0) write_descriptor_type(core, selector, descriptor, type | kTypeAccessed);
}

void write_descriptor_type(Core& core, uint16_t selector, uint64_t descriptor, unsigned type) {
  uint64_t address = 0;
  if (!find_descriptor(core, selector, 8, address)) raise(kGeneralProtection, selector_error(selector));
  auto rights = static_cast<uint8_t>((descriptor >> 40 & 0xf0) | type);
  core.memory.write<uint8_t>(address + 5, rights, Rights::system);
}

vm::Segment null_segment(uint16_t selector) {
  vm::Segment segment;
  segment.selector = selector;
  segment.unusable = 1;
  return segment;
}

vm::Segment null_stack_segment(uint16_t selector, unsigned cpl) {
  // As KVM's emulator fills it in: flat, writable, and of the CPL's privilege.
  vm::Segment segment{.limit = 0xfff, .selector = selector, .type = 3, .s = 1, .present = 1, .db = 1};
  segment.dpl = static_cast<uint8_t>(cpl);
  return segment;
}

vm::Segment shifted_segment(const Core& core, vm::SegmentName name, uint16_t selector) {
  vm::Segment segment = core.cpu.segment[name];
  if (core.protected_mode()) {
    segment = {.limit = 0xffff, .type = 3, .s = 1, .dpl = 3, .present = 1};
  }
  segment.selector = selector;
  segment.base = uint64_t{selector} << 4;
  return segment;
}

uint64_t read_stack_descriptor(Core& core, uint16_t selector, unsigned cpl, Vector fault, uint32_t ext) {
  uint32_t error = selector_error(selector) | ext;
  uint64_t address = 0;
  if (!find_descriptor(core, selector, 8, address)) raise(fault, error);
  auto descriptor = core.memory.read<uint64_t>(address, Rights::system);
  bool writable_data = !descriptor_is_system(descriptor) &&
                       (descriptor_type(descriptor) & (kTypeCode | kTypeWritableOrReadable)) == kTypeWritableOrReadable;
  if (!writable_data || (selector & 3u) != cpl || descriptor_dpl(descriptor) != cpl) raise(fault, error);
  if (!descriptor_present(descriptor)) raise(kStackFault, error);
  return descriptor;
}

vm::Segment take_segment(Core& core, uint16_t selector, uint64_t descriptor, Loader loader) {
  if (!core.features.tcg || loader != Loader::transfer) mark_accessed(core, selector, descriptor);
  vm::Segment segment = unpack_descriptor(selector, descriptor);
  segment.type |= kTypeAccessed;  // as KVM's state shows it, whatever the descriptor says
  return segment;
}

void load_segment(Core& core, vm::SegmentName name, uint16_t selector) {
  if (core.segments_are_shifted()) {
    core.cpu.segment[name] = shifted_segment(core, name, selector);
  } else {
    load_protected_segment(core, name, selector);
  }
  core.state_changed();
}

void load_code_segment(Core& core, uint16_t selector, uint64_t descriptor, unsigned cpl) {
  auto with_cpl = static_cast<uint16_t>((selector & ~3u) | cpl);
  core.cpu.segment[vm::cs] = take_segment(core, with_cpl, descriptor, Loader::transfer);
  core.state_changed();
}

}  // namespace dejavm::soft
