#include "trace/chunk_model.h"

#include <bit>

#include "base/bytes.h"
#include "base/check.h"

namespace dejavm::trace {

AccessModel::AccessModel(uint64_t capacity)
    : capacity_(capacity),
      slot_shift_(static_cast<unsigned>(64 - std::bit_width(2 * capacity + 1))),
      followers_(capacity + 1),
      slots_(size_t{1} << (64 - slot_shift_)) {
  reset();
}

void AccessModel::reset() {
  for (uint32_t id = 0; id < count(); ++id) followers_[id] = {};
  followers_[capacity_] = {};
  registers_.clear();
  place_values_.clear();
  if (++epoch_ == 0) {  // the epochs wrapped: old slots would look new
    slots_.assign(slots_.size(), {});
    epoch_ = 1;
  }
  current_ = capacity_;
  previous_value_ = 0;
}

uint32_t AccessModel::find(uint64_t addr, uint8_t shape) const {
  for (size_t slot = slot_of(addr, shape); slots_[slot].epoch == epoch_; slot = next_slot(slot)) {
    if (is(slots_[slot].id, addr, shape)) return slots_[slot].id;
  }
  return kNone;
}

uint32_t AccessModel::add(uint64_t addr, uint8_t shape) {
  CHECK(count() < capacity_);
  uint32_t id = count();
  uint32_t twin = find(addr, shape ^ kShapeWrite);
  Register reg;
  reg.addr = addr;
  reg.shape = shape;
  reg.place = twin == kNone ? id : registers_[twin].place;
  reg.predictor = twin == kNone ? 0 : 1;
  registers_.push_back(reg);
  place_values_.push_back(0);
  size_t slot = slot_of(addr, shape);
  while (slots_[slot].epoch == epoch_) slot = next_slot(slot);
  slots_[slot] = {epoch_, id};
  return id;
}

std::array<uint64_t, 4> AccessModel::value_candidates(const Register& reg) const {
  unsigned size = shape_size(reg.shape);
  return {reg.last, place_values_[reg.place], low_bytes(previous_value_, size),
          low_bytes(reg.last + (reg.last - reg.before_last), size)};
}

uint64_t AccessModel::expected(const Register& reg) const {
  switch (reg.predictor) {
    case 0:
      return reg.last;
    case 1:
      return place_values_[reg.place];
    case 2:
      return low_bytes(previous_value_, shape_size(reg.shape));
    default:
      return low_bytes(reg.last + (reg.last - reg.before_last), shape_size(reg.shape));
  }
}

void AccessModel::learn(Register& reg, uint64_t value, bool missed) {
  if (missed) {
    std::array<uint64_t, 4> candidates = value_candidates(reg);
    for (uint8_t i = 0; i < candidates.size(); ++i) {
      if (candidates[i] != value) continue;
      reg.predictor = i;
      break;
    }
  }
  reg.before_last = reg.last;
  reg.last = value;
  place_values_[reg.place] = value;
  previous_value_ = value;
}

}  // namespace dejavm::trace
