#include "engine/soft/stack_frame.h"

#include "engine/soft/descriptors.h"
#include "engine/soft/operands.h"
#include "engine/soft/segment_limits.h"

namespace dejavm::soft {
namespace {

/// Of RSP what a push changes.
uint64_t pointer_mask(const Stack& stack) {
  if (stack.is_64_bit) return ~uint64_t{0};
  return stack.segment.db != 0 ? 0xffffffff : 0xffff;
}

uint64_t tss_address(Core& core, unsigned offset, unsigned size, uint32_t ext) {
  const vm::Segment& tr = core.cpu.tr;
  if (offset + size - 1 > tr.limit) raise(kInvalidTss, selector_error(tr.selector) | ext);
  return core.long_mode_active() ? tr.base + offset : static_cast<uint32_t>(tr.base + offset);
}

}  // namespace

Stack current_stack(const Core& core) {
  return {core.cpu.segment[vm::ss], core.cpu.gpr[vm::rsp], core.cpl(), core.code_bits() == 64};
}

Stack inner_stack(Core& core, unsigned cpl, uint32_t ext) {
  Stack stack;
  stack.cpl = cpl;
  uint16_t selector = 0;
  if ((core.cpu.tr.type & 8) != 0) {
    uint64_t at = tss_address(core, 4 + 8 * cpl, 6, ext);
    stack.pointer = core.memory.read<uint32_t>(at, Rights::system);
    selector = core.memory.read<uint16_t>(at + 4, Rights::system);
  } else {
    uint64_t at = tss_address(core, 2 + 4 * cpl, 4, ext);
    stack.pointer = core.memory.read<uint16_t>(at, Rights::system);
    selector = core.memory.read<uint16_t>(at + 2, Rights::system);
  }
  if (is_null(selector)) raise(kInvalidTss, ext);
  uint64_t descriptor = read_stack_descriptor(core, selector, cpl, kInvalidTss, ext);
  stack.segment = take_segment(core, selector, descriptor, Loader::transfer);
  return stack;
}

Stack inner_stack_64(Core& core, unsigned cpl, unsigned offset, uint32_t ext) {
  Stack stack;
  stack.cpl = cpl;
  stack.is_64_bit = true;
  stack.pointer = core.memory.read<uint64_t>(tss_address(core, offset, 8, ext), Rights::system);
  stack.segment = null_stack_segment(static_cast<uint16_t>(cpl), cpl);
  if (!Core::canonical(stack.pointer)) raise(kStackFault, ext);
  return stack;
}

void FrameWriter::push(unsigned size, uint64_t value) {
  uint64_t mask = pointer_mask(stack_);
  uint64_t at = (stack_.pointer - size) & mask;
  uint64_t linear = at;
  if (stack_.is_64_bit) {
    if (!Core::canonical(at) || !Core::canonical(at + size - 1)) raise(kStackFault, error_code_);
  } else {
    if (!core_.features.tcg && !within_limit(stack_.segment, at, size)) raise(kStackFault, error_code_);
    linear = static_cast<uint32_t>(stack_.segment.base + at);
  }
  write_linear(core_, linear, size, value, stack_.cpl == core_.cpl() ? Rights::program : Rights::system);
  stack_.pointer = (stack_.pointer & ~mask) | at;
}

void FrameWriter::install() {
  core_.cpu.segment[vm::ss] = stack_.segment;
  uint64_t whole = stack_.is_64_bit ? ~uint64_t{0} : stack_.segment.db != 0 ? 0xffffffff : ~uint64_t{0};
  core_.cpu.gpr[vm::rsp] = stack_.pointer & whole;
}

}  // namespace dejavm::soft
