// Contents of guest memory in frames: sparse, each distinct page once.
#pragma once

#include <functional>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "trace/message.h"
#include "vm/guest_memory.h"

namespace dejavm::trace {

/// Writes pages as messages of at most kMaxFramePages contents each.
/// `emit(message, last)` stores one; there is always a last one. With `keep_zeros`, pages of zeros are stated too (a
/// keyframe: the page may have held something before).
using EmitPages = std::function<Status(const Words& message, bool last)>;
Status write_pages(const vm::GuestMemory& memory, const std::vector<uint64_t>& pages, bool keep_zeros,
                   const EmitPages& emit);
/// All that is not zero of memory whose dirty pages nobody has taken: looking at the others would allocate them.
Status write_initial_pages(const vm::GuestMemory& memory, const EmitPages& emit);

/// Applies one message to memory. Untrusted.
Status load_pages(std::span<const uint64_t> message, vm::GuestMemory& memory);

}  // namespace dejavm::trace
