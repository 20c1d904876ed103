// Description, End, Index and Keyframe to and from their Cap'n Proto form. Reading is of untrusted words.
#pragma once

#include <span>
#include <vector>

#include "trace/description.h"
#include "trace/frame.h"
#include "trace/message.h"
#include "trace/reader.h"

namespace dejavm::trace {

Words description_message(const Description& description);
/// Also checks the memory sizes against GuestMemory's limits.
Result<Description> read_description(std::span<const uint64_t> message);

Words end_message(const End& end);
Result<End> read_end(std::span<const uint64_t> message);

Words keyframe_message(const Keyframe& keyframe);
Result<Keyframe> read_keyframe_message(std::span<const uint64_t> message);

Words index_message(const std::vector<Frame>& frames);
/// Whether an index lists exactly these frames.
Status check_index(std::span<const uint64_t> message, const std::vector<Frame>& frames);

}  // namespace dejavm::trace
