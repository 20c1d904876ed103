#include "translate_program.h"

#include <cstring>

namespace dejavm::soft {

RandomProgram::RandomProgram(uint32_t seed, unsigned bits, unsigned instructions) : random_(seed), bits_(bits) {
  for (unsigned i = 0; i < instructions; ++i) {
    starts_.push_back(bytes_.size());
    instruction();
  }
  byte(0xe9);
  branches_.push_back({bytes_.size()});
  word(0);
  for (Branch branch : branches_) {
    auto distance = static_cast<uint32_t>(starts_[pick(static_cast<unsigned>(starts_.size()))] - (branch.place + 4));
    std::memcpy(&bytes_[branch.place], &distance, 4);
  }
}

std::vector<uint8_t> RandomProgram::handler() const {
  std::vector<uint8_t> code;
  auto set = [&](unsigned reg, uint64_t value) {  // mov r32, imm32
    code.push_back(static_cast<uint8_t>(0xb8 + reg));
    for (unsigned i = 0; i < 4; ++i) code.push_back(static_cast<uint8_t>(value >> 8 * i));
  };
  set(4, kProgramStack);
  set(3, kProgramData);
  set(5, kProgramData + 0x800);
  set(1, 5);
  set(7, kProgramData + 0x1800);
  set(6, 0xc0000000);  // the device
  if (bits_ == 64) {
    for (unsigned reg : {1u, 3u, 4u, 5u, 6u}) {  // r9, r11, r12, r13, r14
      code.push_back(0x41);
      set(reg, reg == 1 ? 3 : kProgramData + 0x400 * reg);
    }
  }
  code.push_back(0xe9);
  auto distance = static_cast<uint32_t>(kProgram - (0x9000 + code.size() + 4));
  for (unsigned i = 0; i < 4; ++i) code.push_back(static_cast<uint8_t>(distance >> 8 * i));
  return code;
}

void RandomProgram::word(uint32_t value) {
  for (unsigned i = 0; i < 4; ++i) byte(value >> 8 * i);
}

void RandomProgram::immediate(unsigned size) {
  for (unsigned i = 0; i < size; ++i) byte(pick(4) == 0 ? pick(256) : pick(2) * 255);
}

/// Seldom the registers that addresses begin with.
unsigned RandomProgram::reg() {
  unsigned which = pick(8);
  bool precious = which == 3 || which == 4 || which == 5;
  return precious && pick(8) != 0 ? pick(3) : which;
}

void RandomProgram::prefixes(bool byte_operands) {
  operand_size_ = byte_operands ? 1 : 4;
  if (!byte_operands && pick(6) == 0) {
    byte(0x66);
    operand_size_ = 2;
  }
  if (bits_ == 64 && pick(3) != 0) {
    unsigned rex = 0x40 | (pick(2) << 3) | (pick(3) == 0 ? 4u : 0u) | (pick(3) == 0 ? 1u : 0u) | (pick(8) == 0 ? 2u : 0u);
    byte(rex);
    if ((rex & 8) != 0 && !byte_operands) operand_size_ = 8;
  }
}

void RandomProgram::memory_operand(unsigned reg_field) {
  auto displacement = static_cast<uint32_t>(static_cast<int32_t>(pick(0x600)) - 0x300);
  switch (pick(9)) {
    case 0:  // absolute, or relative to RIP: data near the program's start
      byte(reg_field << 3 | 5);
      word(bits_ == 64 ? static_cast<uint32_t>(kProgramData + pick(0x2000) - (kProgram + bytes_.size()))
                       : static_cast<uint32_t>(kProgramData + pick(0x3000)));
      break;
    case 1:  // [rbx + rcx * scale + 8 bits]
      byte(0x44 | reg_field << 3);
      byte(pick(4) << 6 | 1 << 3 | 3);
      byte(pick(256));
      break;
    case 2:  // [rsp + 8 bits]
      byte(0x44 | reg_field << 3);
      byte(0x24);
      byte(pick(128));
      break;
    case 3:  // any register: mostly a fault
      byte(pick(4) == 0 ? reg_field << 3 | 0 : reg_field << 3 | 6);
      break;
    case 4:
      byte(0x45 | reg_field << 3);
      byte(pick(256));
      break;
    default:
      byte(0x83 | reg_field << 3);
      word(pick(12) == 0 ? displacement + 0xd00 + pick(0x20) : displacement);
      break;
  }
}

void RandomProgram::modrm(unsigned reg_field, bool memory_only) {
  if (!memory_only && pick(2) == 0) {
    byte(0xc0 | reg_field << 3 | reg());
  } else {
    memory_operand(reg_field);
  }
}

void RandomProgram::integer() {
  unsigned form = pick(6);
  bool bytes = form == 0 || form == 2 || form == 4;
  prefixes(bytes);
  unsigned operation = pick(8) << 3;
  if (form < 4) {
    byte(operation | form);
    modrm(reg());
  } else {
    byte(operation | form);
    immediate(bytes ? 1 : operand_size_ == 2 ? 2 : 4);
  }
}

void RandomProgram::group() {
  static constexpr uint8_t kOpcodes[] = {0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b,
                                         0x8d, 0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3, 0xc6, 0xc7, 0xf6, 0xf7,
                                         0xfe, 0xff, 0x69, 0x6b, 0x89, 0x8b, 0x8b, 0x89, 0x63};
  unsigned opcode = kOpcodes[pick(sizeof kOpcodes)];
  if (opcode == 0x63 && bits_ == 32) opcode = 0x8b;
  bool odd_is_wide = opcode != 0x69 && opcode != 0x6b && opcode != 0x63 && opcode != 0x83;
  bool bytes = odd_is_wide && (opcode & 1) == 0 && opcode != 0x8d;
  if (opcode >= 0x84 && opcode <= 0x87 && pick(8) == 0) byte(0xf0);
  prefixes(bytes);
  byte(opcode);
  unsigned extension = reg();
  if (opcode == 0xc6 || opcode == 0xc7) extension = 0;
  if (opcode == 0xfe) extension = pick(2);
  if (opcode == 0xff) extension = pick(8) == 0 ? 6 : pick(2);
  if (opcode >= 0x80 && opcode <= 0x83) extension = pick(8);
  if (opcode == 0xf6 || opcode == 0xf7 || (opcode >= 0xc0 && opcode <= 0xc1) || (opcode >= 0xd0 && opcode <= 0xd3))
    extension = pick(8);
  modrm(extension, opcode == 0x8d);
  unsigned wide_immediate = operand_size_ == 2 ? 2 : 4;
  if (opcode == 0x80 || opcode == 0x83 || opcode == 0xc0 || opcode == 0xc1 || opcode == 0xc6 || opcode == 0x6b) immediate(1);
  if (opcode == 0x81 || opcode == 0xc7 || opcode == 0x69) immediate(wide_immediate);
  if (opcode == 0xf6 && extension < 2) immediate(1);
  if (opcode == 0xf7 && extension < 2) immediate(wide_immediate);
}

void RandomProgram::extended() {
  static constexpr uint8_t kOpcodes[] = {0x40, 0x90, 0xa3, 0xab, 0xb3, 0xbb, 0xba, 0xa4, 0xa5, 0xac, 0xad, 0xaf, 0xb0,
                                         0xb1, 0xb6, 0xb7, 0xbe, 0xbf, 0xbc, 0xbd, 0xc0, 0xc1, 0xc8, 0xc3, 0xc7};
  unsigned opcode = kOpcodes[pick(sizeof kOpcodes)];
  if (opcode == 0x40 || opcode == 0x90) opcode += pick(16);
  if (opcode == 0xc8) opcode += pick(8);
  bool bytes = (opcode & 0xf0) == 0x90 || opcode == 0xb0 || opcode == 0xc0;
  prefixes(bytes);
  byte(0x0f);
  byte(opcode);
  if (opcode >= 0xc8) return;
  unsigned field = opcode == 0xba ? 4 + pick(4) : opcode == 0xc7 ? 1 : reg();
  modrm(field, opcode == 0xc3 || opcode == 0xc7);
  if (opcode == 0xba || opcode == 0xa4 || opcode == 0xac) immediate(1);
}

void RandomProgram::vector() {
  static constexpr uint8_t kOpcodes[] = {0x10, 0x11, 0x12, 0x13, 0x14, 0x16, 0x17, 0x28, 0x29, 0x54, 0x55,
                                         0x56, 0x57, 0x60, 0x61, 0x62, 0x63, 0x64, 0x67, 0x6a, 0x6c, 0x6e,
                                         0x6f, 0x70, 0x74, 0x75, 0x76, 0x7e, 0x7f, 0xc4, 0xc5, 0xc6, 0xd4,
                                         0xd6, 0xd7, 0xda, 0xdb, 0xeb, 0xef, 0xf4, 0xf6, 0xfa, 0xfb, 0xfe};
  static constexpr uint8_t kPrefixes[] = {0x66, 0x66, 0xf3, 0xf2};
  if (pick(8) != 0) byte(kPrefixes[pick(4)]);
  if (bits_ == 64 && pick(3) == 0) byte(0x40 | pick(16));
  byte(0x0f);
  unsigned opcode = kOpcodes[pick(sizeof kOpcodes)];
  byte(opcode);
  unsigned field = opcode == 0xc5 || opcode == 0xd7 ? pick(3) : pick(8);
  if (pick(2) == 0) {  // aligned memory
    byte(0x83 | field << 3);
    word(16 * pick(32));
  } else {
    modrm(field);
  }
  if (opcode == 0x70 || opcode == 0xc4 || opcode == 0xc5 || opcode == 0xc6) immediate(1);
}

void RandomProgram::stack() {
  unsigned which = pick(10);
  if (bits_ == 64 && pick(3) == 0) byte(0x41);
  unsigned any = pick(8);
  if (which < 4) {
    byte(0x50 + any);
  } else if (which < 8) {
    byte(0x58 + (any == 3 || any == 4 || any == 5 ? 2 : any));
  } else if (which == 8) {
    byte(0x6a);
    byte(pick(256));
  } else {
    byte(pick(8) == 0 ? 0xc9 : 0x9c);
  }
}

void RandomProgram::branch() {
  switch (pick(8)) {
    case 0:
      byte(0xe8);
      break;
    case 1:
      byte(0xe9);
      break;
    case 2:
      byte(0xc3);
      return;
    case 3:  // lea rax, [program]; jmp rax or call rax
      if (bits_ == 64) byte(0x48);
      byte(0x8d);
      byte(bits_ == 64 ? 0x05 : 0x05);
      if (bits_ == 64) {
        branches_.push_back({bytes_.size()});
        word(0);
      } else {
        word(static_cast<uint32_t>(kProgram + starts_[pick(static_cast<unsigned>(starts_.size()))]));
      }
      byte(0xff);
      byte(0xe0 - pick(2) * 0x10);
      return;
    default:
      byte(0x0f);
      byte(0x80 + pick(16));
      break;
  }
  branches_.push_back({bytes_.size()});
  word(0);
}

void RandomProgram::single() {
  if (bits_ == 32 && pick(4) == 0) {
    if (pick(2) == 0) return byte(0x40 + pick(2) * 8 + pick(3));  // INC, DEC of one byte
    byte(0xa0 + pick(4));                                         // MOV, absolute
    return word(static_cast<uint32_t>(kProgramData + pick(0x2000)));
  }
  static constexpr uint8_t kOpcodes[] = {0x91, 0x92, 0x98, 0x99, 0xf5, 0xf8, 0xf9, 0xfc,
                                         0xa4, 0xa5, 0xaa, 0xab, 0x90, 0x9e, 0x9f, 0xfa};
  unsigned which = pick(24);
  if (which < 16) {
    unsigned opcode = kOpcodes[which];
    if ((opcode & 0xf4) == 0xa0 && pick(3) == 0) byte(0xf3);
    if (bits_ == 64 && pick(2) == 0) byte(0x48);
    byte(opcode);
  } else if (which < 20) {
    byte(0xb0 + (pick(3)));
    immediates_.push_back(bytes_.size());
    immediate(1);
  } else {
    byte(0xb8 + (which == 23 ? 6u : pick(3)));
    immediates_.push_back(bytes_.size());
    immediate(4);
  }
}

/// mov ecx, some; often lea edi, [data] and lea esi, [data]; seldom std; rep movs or stos of any size; cld
void RandomProgram::repeated_string() {
  byte(0xb9);
  word(pick(3) == 0 ? pick(4) : pick(600));
  for (unsigned pointer : {6u, 7u}) {  // mov esi or edi: also at the ends of pages, in reach of each other, or the code
    if (pick(4) == 0) continue;
    byte(0xb8 + pointer);
    unsigned in_page = pick(2) == 0 ? 0xfc0 + pick(0x40) : pick(0x1000);
    word(static_cast<uint32_t>(pick(40) == 0 ? kProgram + pick(0x400) : kProgramData + pick(3) * 0x1000 + in_page));
  }
  bool down = pick(8) == 0;
  if (down) byte(0xfd);
  if (pick(6) == 0) byte(0x66);
  byte(pick(12) == 0 ? 0xf2 : 0xf3);
  if (bits_ == 64 && pick(2) == 0) byte(0x48);
  byte((pick(2) == 0 ? 0xa4 : 0xaa) + pick(2));
  if (down) byte(0xfc);
}

/// mov byte [an immediate of the program], imm8
void RandomProgram::patch_code() {
  if (immediates_.empty()) return single();
  size_t target = immediates_[pick(static_cast<unsigned>(immediates_.size()))];
  byte(0xc6);
  byte(0x05);
  word(bits_ == 64 ? static_cast<uint32_t>(target - (bytes_.size() + 5)) : static_cast<uint32_t>(kProgram + target));
  byte(pick(256));
}

void RandomProgram::instruction() {
  switch (pick(24)) {
    case 0:
      return pick(3) == 0 ? patch_code() : single();
    case 1:
    case 2:
      return branch();
    case 3:
    case 4:
      return stack();
    case 5:
    case 6:
      return vector();
    case 7:
      return single();
    case 8:
      return pick(2) == 0 ? single() : repeated_string();
    case 9:
    case 10:
    case 11:
    case 12:
      return extended();
    case 13:
    case 14:
    case 15:
    case 16:
    case 17:
      return integer();
    default:
      return group();
  }
}

}  // namespace dejavm::soft
