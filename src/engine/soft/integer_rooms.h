// The parts of bind_integer(), each with the instructions of one file.
#pragma once

#include "engine/soft/decode.h"

namespace dejavm::soft {

bool bind_move(const Decoded& decoded, Instruction& insn);             // moves.cpp: MOV, MOVZX, LEA, CMOVcc, SETcc, CBW, ...
bool bind_exchange(const Decoded& decoded, Instruction& insn);         // exchange.cpp: XCHG, XADD, CMPXCHG
bool bind_shift(const Decoded& decoded, Instruction& insn);            // shift.cpp: shifts and rotates
bool bind_double_shift(const Decoded& decoded, Instruction& insn);     // double_shift.cpp: SHLD, SHRD
bool bind_multiply_divide(const Decoded& decoded, Instruction& insn);  // multiply_divide.cpp
bool bind_bit(const Decoded& decoded, Instruction& insn);              // bit_ops.cpp: BT, BSF, POPCNT, CRC32, ...
bool bind_decimal(const Decoded& decoded, Instruction& insn);          // decimal.cpp: DAA, AAM, ...
bool bind_plain(const Decoded& decoded, Instruction& insn);            // plain_ops.cpp: flags, NOPs, fences, BOUND

/// The handler of NOP, fences and prefetches (plain_ops.cpp); the translator knows it and makes no code of it.
void do_nothing(Core& core, const Instruction& insn);

}  // namespace dejavm::soft
