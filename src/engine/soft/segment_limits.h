// Which offsets of a segment may be accessed (AMD64 APM volume 2, section 4.12).
#pragma once

#include <cstdint>

#include "vm/cpu_state.h"

namespace dejavm::soft {

/// Descriptor type bits of code and data segments.
inline constexpr uint8_t kTypeAccessed = 1, kTypeWritableOrReadable = 2, kTypeDownOrConforming = 4, kTypeCode = 8;

/// True when `size` bytes at `offset` lie within the limit; expand-down data segments count from the other side.
bool within_limit(const vm::Segment& segment, uint64_t offset, uint64_t size);

}  // namespace dejavm::soft
