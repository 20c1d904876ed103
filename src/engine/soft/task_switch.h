// Hardware task switches of legacy protected mode (AMD64 APM volume 2, chapter 12).
#pragma once

#include <cstdint>
#include <optional>

#include "engine/soft/core.h"

namespace dejavm::soft {

enum class TaskEntry : uint8_t { jump, call, interrupt, iret };

/// Saves the state in the current TSS (with `return_rip`), and goes on with the task of the TSS that `selector` names:
/// cpu.rip is its EIP. The privilege checks of descriptor or gate are the caller's. `ext` is the EXT bit of error codes; an
/// `error_code` is pushed on the new task's stack. Faults before the switch are thrown; those of loading the new task's
/// segments are exceptions of the new task, whose handler is entered. The T bit of a TSS (a debug trap at the switch) is not
/// regarded, as in KVM.
void switch_task(Core& core, TaskEntry entry, uint16_t selector, uint64_t return_rip, uint32_t ext,
                 std::optional<uint32_t> error_code);

/// IRET with NT set: back to the task that the current TSS links to.
void return_from_task(Core& core);

}  // namespace dejavm::soft
