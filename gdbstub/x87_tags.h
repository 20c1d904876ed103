// The x87 tag word: two bits a register for debuggers, one bit in FXSAVE (AMD64 APM volume 2, section 11.4.4, "FXSAVE Format
// for x87 Tag Word").
#pragma once

#include <cstdint>

#include "vm/cpu_state.h"

namespace dejavm::gdb {

/// The 16-bit tag word: 0 valid, 1 zero, 2 special, 3 empty for each physical register.
uint16_t full_tags(const vm::Fpu& fpu);

/// One bit a register: set where it is not empty.
uint8_t abridged_tags(uint16_t full);

}  // namespace dejavm::gdb
