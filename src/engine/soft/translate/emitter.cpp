#include "engine/soft/translate/emitter.h"

#include <cstring>

namespace dejavm::soft {
namespace {

constexpr unsigned kRex = 0x40, kRexW = 8, kRexR = 4, kRexX = 2, kRexB = 1;
constexpr unsigned kModDisp8 = 0x40, kModDisp32 = 0x80, kModRegister = 0xc0;
constexpr unsigned kSibFollows = 4, kNoIndex = 4, kNoBase = 5;

bool is_byte(int32_t value) { return value == static_cast<int8_t>(value); }
unsigned low(unsigned reg) { return reg & 7; }
bool is_upper(unsigned reg) { return reg >= 8; }

}  // namespace

void Emitter::word(uint32_t value) {
  CHECK(has_room(sizeof value));
  std::memcpy(memory_.writable() + at_, &value, sizeof value);
  at_ += sizeof value;
}

void Emitter::long_word(uint64_t value) {
  word(static_cast<uint32_t>(value));
  word(static_cast<uint32_t>(value >> 32));
}

void Emitter::move(Host to, Host from) {
  byte(kRex | kRexW | (is_upper(encoding(from)) ? kRexR : 0) | (is_upper(encoding(to)) ? kRexB : 0));
  bytes({0x89, kModRegister | low(encoding(from)) << 3 | low(encoding(to))});
}

void Emitter::constant(Host to, uint64_t value) {
  unsigned upper = is_upper(encoding(to)) ? kRexB : 0;
  if (value == static_cast<uint32_t>(value)) {
    if (upper != 0) byte(kRex | upper);
    byte(0xb8 | low(encoding(to)));
    word(static_cast<uint32_t>(value));
  } else if (static_cast<int64_t>(value) == static_cast<int32_t>(value)) {
    bytes({kRex | kRexW | upper, 0xc7, kModRegister | low(encoding(to))});
    word(static_cast<uint32_t>(value));
  } else {
    bytes({kRex | kRexW | upper, 0xb8 | low(encoding(to))});
    long_word(value);
  }
}

void Emitter::with_field(std::initializer_list<unsigned> opcode, unsigned reg, Field field, bool wide) {
  byte(kRex | kRexB | (wide ? kRexW : 0) | (is_upper(reg) ? kRexR : 0));
  bytes(opcode);
  bool small = is_byte(field.displacement);
  byte((small ? kModDisp8 : kModDisp32) | low(reg) << 3 | low(encoding(kState)));
  if (small) {
    byte(static_cast<uint8_t>(field.displacement));
  } else {
    word(static_cast<uint32_t>(field.displacement));
  }
}

void Emitter::with_indexed_field(unsigned opcode, Host reg, Field field) {
  bytes({kRex | kRexW | (is_upper(encoding(reg)) ? kRexR : 0) | kRexX | kRexB, opcode,
         kModDisp32 | low(encoding(reg)) << 3 | kSibFollows, low(encoding(kScratch)) << 3 | low(encoding(kState))});
  word(static_cast<uint32_t>(field.displacement));
}

void Emitter::lea(Host to, std::optional<Host> base, std::optional<Host> index, unsigned scale, int32_t displacement,
                  bool wide) {
  bool upper_base = base && is_upper(encoding(*base)), upper_index = index && is_upper(encoding(*index));
  byte(kRex | (wide ? kRexW : 0) | (is_upper(encoding(to)) ? kRexR : 0) | (upper_index ? kRexX : 0) |
       (upper_base ? kRexB : 0));
  byte(0x8d);
  unsigned reg = low(encoding(to)) << 3;
  unsigned index_bits = (index ? low(encoding(*index)) : kNoIndex) << 3 | scale << 6;
  if (!base) {
    bytes({reg | kSibFollows, index_bits | kNoBase});
    return word(static_cast<uint32_t>(displacement));
  }
  unsigned base_bits = low(encoding(*base));
  unsigned mod = displacement == 0 && base_bits != kNoBase ? 0 : is_byte(displacement) ? kModDisp8 : kModDisp32;
  if (index || base_bits == kSibFollows) {
    bytes({mod | reg | kSibFollows, index_bits | base_bits});
  } else {
    byte(mod | reg | base_bits);
  }
  if (mod == kModDisp8) byte(static_cast<uint8_t>(displacement));
  if (mod == kModDisp32) word(static_cast<uint32_t>(displacement));
}

CodeOffset Emitter::jump() {
  byte(0xe9);
  word(0);
  return at_ - 4;
}

CodeOffset Emitter::jump_if(unsigned condition) {
  bytes({0x0f, 0x80 | condition});
  word(0);
  return at_ - 4;
}

void Emitter::call(CodeOffset target) {
  byte(0xe8);
  word(0);
  bind(at_ - 4, target);
}

void Emitter::bind(CodeOffset place, CodeOffset target) {
  uint32_t distance = target - (place + 4);
  std::memcpy(memory_.writable() + place, &distance, sizeof distance);
}

}  // namespace dejavm::soft
