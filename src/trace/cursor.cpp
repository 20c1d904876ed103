#include <algorithm>

#include "trace/reader.h"

namespace dejavm::trace {

Status EventCursor::load_chunk(size_t index) {
  TRY_ASSIGN(events_, reader_.read_chunk(index));
  chunk_ = index + 1;
  position_ = 0;
  return {};
}

Result<const Event*> EventCursor::peek() {
  while (position_ >= events_.size()) {
    if (chunk_ >= reader_.chunks().size()) return nullptr;
    TRY(load_chunk(chunk_));
  }
  return &events_[position_];
}

Result<const Event*> EventCursor::next() {
  TRY_ASSIGN(const Event* event, peek());
  if (event == nullptr) return nullptr;
  ++position_;
  if (is_numbered(event->body)) ++next_number_;
  return event;
}

Status EventCursor::seek(uint64_t number) {
  const std::vector<ChunkInfo>& chunks = reader_.chunks();
  position_ = 0;
  number = std::min(number, reader_.event_count());
  auto holds = std::ranges::partition_point(chunks, [&](const ChunkInfo& c) { return c.first_event + c.events <= number; });
  if (holds == chunks.end()) {
    events_.clear();
    chunk_ = chunks.size();
    next_number_ = reader_.event_count();
    return {};
  }
  auto index = static_cast<size_t>(holds - chunks.begin());
  bool loaded = !events_.empty() && chunk_ == index + 1;
  if (!loaded) {
    events_.clear();
    TRY(load_chunk(index));
  }
  next_number_ = holds->first_event;
  while (next_number_ < number || !is_numbered(events_[position_].body)) {
    if (is_numbered(events_[position_].body)) ++next_number_;
    ++position_;
  }
  return {};
}

}  // namespace dejavm::trace
