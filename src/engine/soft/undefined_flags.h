// The status flags that the manuals leave undefined, as the CPU model `amd` has them. Measured on an AMD EPYC (Zen 4) over
// all operand sizes, random and extreme operands and every state of the flags before; tests/unit/soft compares them with the
// host where that is an AMD. All of them follow from the operands.
//
// clang-format off
// | instruction                 | CF       | PF      | AF   | ZF      | SF      | OF                                |
// |-----------------------------|----------|---------|------|---------|---------|-----------------------------------|
// | AND OR XOR TEST             | 0        | defined | 0    | defined | defined | 0                                 |
// | SHL, any count but 0        | last out | defined | 1    | defined | defined | CF xor the result's top bit       |
// | SHR, SAR, any count but 0   | last out | defined | 1    | defined | defined | xor of the result's two top bits  |
// | ROL RCL, any count but 0    | defined  | kept    | kept | kept    | kept    | CF xor the result's top bit       |
// | ROR RCR, any count but 0    | defined  | kept    | kept | kept    | kept    | xor of the result's two top bits  |
// | SHLD, any count but 0       | last out | result  | 1    | result  | result  | CF xor top bit of the plain shift |
// | SHRD, any count but 0       | last out | result  | 1    | result  | result  | xor of the result's two top bits  |
// | MUL, IMUL (all forms)       | defined  | kept    | kept | kept    | kept    | defined                           |
// | DIV, IDIV                   | kept     | 0       | 1    | 0       | 0       | kept                              |
// | BT BTS BTR BTC              | the bit  | kept    | kept | kept    | kept    | kept                              |
// | BSF, BSR of anything but 0  | 0        | result  | 0    | 0       | 0       | 0                                 |
// | BSF, BSR of 0 (target kept) | 0        | 1       | 0    | 1       | 0       | 0                                 |
// | LZCNT, TZCNT                | defined  | 0       | 0    | defined | 0       | kept                              |
// | DAA, DAS                    | defined  | defined | def. | defined | defined | of adding (taking) the correction |
// | AAM                         | 0        | defined | 0    | defined | defined | 0                                 |
// clang-format on
//
// - SHL, SHR and SAR of 8 and 16 bits by more than the width: CF is what an endless shift pushes out (SHL, SHR 0, SAR the
// sign).
// - SHLD and SHRD of 16 bits by more than 16: the result is the second operand rotated by the count less 16, CF is 0.
// - AAA, AAS: PF, ZF, SF and OF of AX plus (less) 0x106 or 0, before AL is cut to 4 bits.
// - AAD: all six as an 8-bit ADD of AH times the base to AL.
//
// A shift, rotate or double shift whose count is 0 after masking (5 bits; 6 with 64-bit operands) keeps all flags. A rotate
// through carry by a multiple of its width plus one keeps CF and sets OF by the rule above.
//
// Undefined values: BSF and BSR of 0 leave the whole 64-bit register as it is, also with 32-bit operands; BSWAP of a 16-bit
// register makes it 0; a CMPXCHG with a 32-bit register that fails does not clear that register's upper half.
#pragma once

#include <cstdint>

#include "engine/soft/flags.h"

namespace dejavm::soft {

/// AF after shifts and double shifts.
inline constexpr uint64_t kShiftAf = kAf;
/// DIV and IDIV change these flags ...
inline constexpr uint64_t kDivideChanges = kPf | kAf | kZf | kSf;
/// ... to this.
inline constexpr uint64_t kDivideFlags = kAf;
/// MUL and IMUL change CF and OF only; LZCNT and TZCNT all but OF.
inline constexpr uint64_t kMultiplyChanges = kCf | kOf;
inline constexpr uint64_t kCountChanges = kStatusFlags & ~kOf;

}  // namespace dejavm::soft
