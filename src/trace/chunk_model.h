// What the encoder and the decoder of a chunk both know after each access, and therefore both predict of the next one
// (docs/trace-format.md, "Prediction", is normative; a change here is a change of the format).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "trace/limits.h"
#include "vm/access.h"

namespace dejavm::trace {

/// Why a token says that an access is not as predicted. Bits 0-1 hold a RegisterCode.
enum TokenBits : uint8_t {
  kTokenRegisterMask = 0x03,
  kTokenValue = 0x04,        ///< the value stands in the values column
  kTokenForm = 0x08,         ///< the form stands in the forms column
  kTokenInstruction = 0x10,  ///< the instruction's address stands in the instructions column
  kTokenOther = 0x20,        ///< not an access: the next of the `others` (all other bits are zero)
};

/// How the register of an access is known.
enum RegisterCode : uint8_t {
  kRegisterPredicted = 0,  ///< the one that followed last time
  kRegisterNew = 1,        ///< the next of the dictionary
  kRegisterSecond = 2,     ///< the one that followed before that
  kRegisterExplicit = 3,   ///< its number stands in the registers column
};

/// The form of an access beyond its value.
enum FormBits : uint8_t { kFormJoins = 1, kFormInstruction = 2 };

/// Space, direction and size of a register in one byte: bits 0-2 size - 1, bit 3 write, bit 4 pio.
inline uint8_t shape_of(const vm::Access& access) {
  return static_cast<uint8_t>((access.size - 1u) | static_cast<unsigned>(access.direction) << 3 |
                              static_cast<unsigned>(access.space) << 4);
}
inline constexpr uint8_t kShapeWrite = 0x08;
inline constexpr uint8_t kShapePio = 0x10;
inline constexpr uint8_t kShapeMask = 0x1f;
inline unsigned shape_size(uint8_t shape) { return (shape & 7u) + 1; }

/// A small integer for small magnitudes of both signs.
inline uint64_t zigzag(uint64_t delta) { return (delta << 1) ^ (0 - (delta >> 63)); }
inline uint64_t unzigzag(uint64_t coded) { return (coded >> 1) ^ (0 - (coded & 1)); }

/// One register of a chunk: a (space, direction, size, address) and its history.
struct Register {
  uint64_t addr = 0;
  uint64_t last = 0;         ///< value of its last access
  uint64_t before_last = 0;  ///< and of the one before
  uint64_t instruction = 0;  ///< of its last access that had one
  uint32_t place = 0;        ///< number of the first register at the same space, size and address
  uint32_t misses = 0;       ///< values in the values column (kept by the codec, not by the model)
  uint8_t shape = 0;
  uint8_t predictor = 0;  ///< 0..3, see AccessModel::value_candidates
  uint8_t form = 0;       ///< of its last access
};

/// The registers of a chunk in the order of their first access, which register follows which, and what value is expected.
/// Reset before each chunk; memory is kept from chunk to chunk.
class AccessModel {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  /// `capacity`: registers at most; up to kMaxChunkRecords.
  explicit AccessModel(uint64_t capacity);
  void reset();

  uint32_t count() const { return static_cast<uint32_t>(registers_.size()); }
  Register& at(uint32_t id) { return registers_[id]; }
  const Register& at(uint32_t id) const { return registers_[id]; }
  bool is(uint32_t id, uint64_t addr, uint8_t shape) const {
    return registers_[id].addr == addr && registers_[id].shape == shape;
  }

  /// The register with this address and shape, or kNone.
  uint32_t find(uint64_t addr, uint8_t shape) const;
  /// Adds a register that find() does not know; the capacity is an invariant of the caller.
  uint32_t add(uint64_t addr, uint8_t shape);

  /// The register that followed the current one last time, and the one before that; kNone where there is none.
  uint32_t predicted() const { return followers_[current_].first; }
  uint32_t second() const { return followers_[current_].second; }
  /// Makes `id` the current register.
  void follow(uint32_t id) {
    Followers& followers = followers_[current_];
    if (followers.first != id) followers = {id, followers.first};
    current_ = id;
  }

  /// The value that the register's predictor expects.
  uint64_t expected(const Register& reg) const;
  /// Takes the actual value; `missed`: expected() was wrong, so choose the predictor that would have been right.
  void learn(Register& reg, uint64_t value, bool missed);

 private:
  struct Followers {
    uint32_t first = kNone;
    uint32_t second = kNone;
  };
  struct Slot {
    uint32_t epoch = 0;
    uint32_t id = 0;
  };
  size_t slot_of(uint64_t addr, uint8_t shape) const {
    return static_cast<size_t>((addr * 32 + shape) * 0x9e3779b97f4a7c15u >> slot_shift_);
  }
  size_t next_slot(size_t slot) const { return (slot + 1) & (slots_.size() - 1); }
  std::array<uint64_t, 4> value_candidates(const Register& reg) const;

  const uint64_t capacity_;
  const unsigned slot_shift_;  // 64 minus the binary logarithm of the number of slots
  std::vector<Register> registers_;
  std::vector<uint64_t> place_values_;  // last value in either direction, by Register::place
  std::vector<Followers> followers_;    // by register; the last one is the start of the chunk
  std::vector<Slot> slots_;             // open addressing; a slot of an older epoch is empty
  uint32_t epoch_ = 0;
  size_t current_ = 0;
  uint64_t previous_value_ = 0;
};

}  // namespace dejavm::trace
