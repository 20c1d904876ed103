// Frames that are pushed by the CPU itself, perhaps on another stack than the current one (AMD64 APM volume 2, section 8.7).
#pragma once

#include <cstdint>

#include "engine/soft/core.h"

namespace dejavm::soft {

/// A stack that code at some privilege uses: SS as it will be, and the pointer.
struct Stack {
  vm::Segment segment;
  uint64_t pointer = 0;
  unsigned cpl = 0;
  bool is_64_bit = false;  ///< no segmentation
};

/// The stack that the program is on.
Stack current_stack(const Core& core);

/// The stack pointer and selector that the TSS keeps for privilege `cpl` (legacy modes), SS loaded with all its checks; #TS
/// and #SS carry the selector. `ext` is the EXT bit of error codes.
Stack inner_stack(Core& core, unsigned cpl, uint32_t ext);
/// Long mode: RSP of the TSS at byte `offset`; SS becomes null with `cpl`.
Stack inner_stack_64(Core& core, unsigned cpl, unsigned offset, uint32_t ext);
/// Where RSP0 and IST1 stand in a TSS of long mode.
inline constexpr unsigned kTss64Rsp0 = 4, kTss64Ist1 = 36;

/// Pushes onto a stack without changing a register; install() makes it the current one. Faults are #SS(error_code).
class FrameWriter {
 public:
  FrameWriter(Core& core, const Stack& stack, uint32_t error_code) : core_(core), stack_(stack), error_code_(error_code) {}

  /// `size` is 2, 4 or 8.
  void push(unsigned size, uint64_t value);
  /// SS and RSP become this stack's.
  void install();

 private:
  Core& core_;
  Stack stack_;
  uint32_t error_code_;
};

}  // namespace dejavm::soft
