// Writes host machine code (AMD64 APM volume 3: encodings).
#pragma once

#include <cstdint>
#include <initializer_list>

#include "base/check.h"
#include "engine/soft/executable_memory.h"
#include "engine/soft/translate/host_registers.h"

namespace dejavm::soft {

/// Where code stands, from the start of its ExecutableMemory.
using CodeOffset = uint32_t;

/// Conditions of jumps, as encoded.
enum class Condition : uint8_t {
  overflow = 0,
  below = 2,
  above_or_equal = 3,
  equal = 4,
  not_equal = 5,
  above = 7,
  less = 12
};

/// A displacement from kState.
struct Field {
  int32_t displacement = 0;
  Field operator+(int32_t bytes) const { return {displacement + bytes}; }
};

/// Appends to the memory, which it borrows. Bounded: has_room() before a block is begun.
class Emitter {
 public:
  explicit Emitter(ExecutableMemory& memory) : memory_(memory) {}

  CodeOffset here() const { return at_; }
  void move_to(CodeOffset at) { at_ = at; }
  bool has_room(size_t bytes) const { return memory_.size() - at_ >= bytes; }
  const uint8_t* address(CodeOffset offset) const { return memory_.executable() + offset; }

  void byte(unsigned value) {
    CHECK(at_ < memory_.size());
    memory_.writable()[at_++] = static_cast<uint8_t>(value);
  }
  void bytes(std::initializer_list<unsigned> values) {
    for (unsigned value : values) byte(value);
  }
  void word(uint32_t value);
  void long_word(uint64_t value);

  // ---- Instructions; 64 bits wide unless said otherwise

  void move(Host to, Host from);
  void constant(Host to, uint64_t value);
  void load(Host to, Field from) { with_field({0x8b}, encoding(to), from, true); }
  void store(Field to, Host from) { with_field({0x89}, encoding(from), to, true); }
  /// opcode reg, [kState + field]; `reg` also is the opcode's extension.
  void with_field(std::initializer_list<unsigned> opcode, unsigned reg, Field field, bool wide);
  /// opcode reg, [kState + kScratch + field].
  void with_indexed_field(unsigned opcode, Host reg, Field field);
  /// LEA; narrow: the result is cut to 32 bits. Without a base there is an index or just the displacement.
  void lea(Host to, std::optional<Host> base, std::optional<Host> index, unsigned scale, int32_t displacement, bool wide);

  // ---- Jumps. A place is that of the 32-bit distance, to be filled by bind().

  CodeOffset jump();
  CodeOffset jump_if(Condition condition) { return jump_if(static_cast<unsigned>(condition)); }
  CodeOffset jump_if(unsigned condition);
  void jump_to(CodeOffset target) { bind(jump(), target); }
  void call(CodeOffset target);
  void bind(CodeOffset place, CodeOffset target);
  void bind_here(CodeOffset place) { bind(place, here()); }

 private:
  ExecutableMemory& memory_;
  CodeOffset at_ = 0;
};

}  // namespace dejavm::soft
