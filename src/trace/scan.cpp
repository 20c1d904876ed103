#include "trace/scan.h"

#include <algorithm>

#include "trace/chunk_codec.h"
#include "trace/compress.h"
#include "trace/description_message.h"
#include "trace/journal.h"
#include "trace/limits.h"
#include "trace/record.h"

namespace dejavm::trace {
namespace {

class Scanner {
 public:
  explicit Scanner(const Storage& file) : file_(file) {}
  Result<Scan> run(const std::string& name);

 private:
  Status take_next_frame();
  Status take(const Frame& frame);
  Status take_chunk(const Frame& frame);
  Status take_end(const Frame& frame);
  void find_journals();
  void take_journals(const Error& stop);
  void take_records(JournalView& journal);
  bool head_complete() const { return memory_complete_; }
  void set_damage(uint64_t offset, const std::string& why);

  const Storage& file_;
  Scan scan_;
  std::vector<JournalView> journals_;
  uint64_t offset_ = kFileHeaderBytes;
  uint64_t chunks_ = 0;
  std::vector<Frame> pending_pages_;
  bool memory_complete_ = false;
};

void Scanner::set_damage(uint64_t offset, const std::string& why) {
  scan_.damage = scan_.events == 0 ? fmt::format("damaged at byte {} before the first event: {}", offset, why)
                                   : fmt::format("damaged at byte {} after event {}: {}", offset, scan_.events - 1, why);
}

Status Scanner::take_chunk(const Frame& frame) {
  if (frame.first_event != scan_.events || frame.records == 0 || frame.records > kMaxChunkRecords ||
      frame.events > frame.records) {
    return fail_damaged("a chunk does not continue the events before it");
  }
  ChunkInfo info{frame.first_event, frame.events, frame.records, frame.offset, kFrameHeaderBytes + frame.stored_length};
  scan_.chunks.push_back({.info = info, .raw_length = frame.raw_length, .log = nullptr});
  scan_.events += frame.events;
  ++chunks_;
  return {};
}

Status Scanner::take_end(const Frame& frame) {
  TRY_ASSIGN(Words message, frame_message(file_, frame));
  TRY_ASSIGN(End end, read_end(message));
  if (end.events != scan_.events) {
    return fail_damaged(fmt::format("the end counts {} events and the file holds {}", end.events, scan_.events));
  }
  scan_.end = std::move(end);
  return {};
}

Status Scanner::take(const Frame& frame) {
  if ((frame.type == FrameType::description) != scan_.frames.empty()) return fail_damaged("a misplaced description");
  if (memory_complete_ == (frame.type == FrameType::memory) && frame.type != FrameType::description) {
    return fail_damaged("a misplaced memory frame");
  }
  switch (frame.type) {
    case FrameType::description: {
      TRY_ASSIGN(Words message, frame_message(file_, frame));
      TRY_ASSIGN(scan_.description, read_description(message));
      return {};
    }
    case FrameType::memory:
      scan_.memory.push_back(frame);
      memory_complete_ = frame.records != 0;
      return {};
    case FrameType::chunk:
      return take_chunk(frame);
    case FrameType::keyframe_pages:
      pending_pages_.push_back(frame);
      return {};
    case FrameType::keyframe:
      scan_.keyframes.push_back({frame, std::exchange(pending_pages_, {})});
      return {};
    case FrameType::index: {
      TRY_ASSIGN(Words message, frame_message(file_, frame));
      return check_index(message, scan_.frames);
    }
    case FrameType::end:
      return take_end(frame);
  }
  return fail_damaged("an unknown frame");
}

Status Scanner::take_next_frame() {
  TRY_ASSIGN(Frame frame, parse_frame(file_, offset_, scan_.frames.size()));
  TRY(take(frame));
  scan_.frames.push_back(frame);
  offset_ = frame.end();
  return {};
}

/// Takes the records of a journal up to the first that is not intact.
void Scanner::take_records(JournalView& journal) {
  uint64_t at = journal.offset + kJournalHeaderBytes;
  ChunkSource source;
  source.info = {.first_event = scan_.events, .events = 0, .records = 0, .offset = at, .stored_bytes = 0};
  source.journal = journal.sequence;
  std::span<const uint64_t> rest = journal.log;
  std::string why = journal.committed == journal.log.size() * 8 ? "" : "cut off";
  while (!rest.empty()) {
    auto record = parse_record(rest, journal.sequence);
    if (!record || source.info.records == kMaxChunkRecords) {
      why = record ? "too many records" : record.error().what;
      break;
    }
    ++source.info.records;
    source.info.events += record->numbered ? 1 : 0;
    source.info.stored_bytes += record->length;
    rest = rest.subspan(record->length / 8);
  }
  scan_.events += source.info.events;
  if (source.info.records > 0) {
    journal.log.resize(source.info.stored_bytes / 8);
    source.log = std::make_shared<const Words>(std::move(journal.log));
    scan_.chunks.push_back(std::move(source));
  }
  if (!why.empty()) set_damage(at + source.info.stored_bytes, why);
}

/// Copies what stands in the journals. Before the frames are walked: a recorder that lives may turn a journal into a frame
/// meanwhile, and so each event is seen in one of the two at least.
void Scanner::find_journals() {
  for (unsigned entry = 0; entry < kJournalEntries; ++entry) {
    auto journal = find_journal(file_, entry);
    if (journal) journals_.push_back(std::move(*journal));
  }
  // Of two with the same number, the older is empty and about to be retired.
  std::ranges::sort(journals_, [](const JournalView& a, const JournalView& b) {
    return std::tie(a.sequence, a.committed) < std::tie(b.sequence, b.committed);
  });
}

/// The frames ended without an end: what was not compressed yet stands in the journals.
void Scanner::take_journals(const Error& stop) {
  for (JournalView& journal : journals_) {
    if (journal.sequence < chunks_ || journal.committed == 0) continue;  // its frame is complete, or it is not yet in use
    if (journal.sequence != chunks_ || journal.first_event != scan_.events) break;
    take_records(journal);
    if (!scan_.damage.empty()) return;
    ++chunks_;
  }
  // A recorder always has a journal for the next chunk, or one whose frame it has just written; one that lives may have gone
  // on since the journals were copied.
  bool whole = std::ranges::any_of(journals_, [&](const JournalView& journal) { return journal.sequence <= chunks_; });
  if (!whole) set_damage(offset_, stop.what);
}

Result<Scan> Scanner::run(const std::string& name) {
  find_journals();
  while (!scan_.end) {
    Status taken = take_next_frame();
    if (taken) continue;
    if (!head_complete()) {
      return fail_damaged(fmt::format("{} is damaged at byte {}, in its description or initial memory: {}", name, offset_,
                                      taken.error().what),
                          "Nothing of it can be used; record again or fetch the file again.");
    }
    take_journals(taken.error());
    break;
  }
  return std::move(scan_);
}

Result<std::vector<Event>> read_journal(const ChunkSource& source) {
  std::vector<Event> events;
  events.reserve(source.info.records);
  for (std::span<const uint64_t> rest = *source.log; !rest.empty();) {
    TRY_ASSIGN(Record record, parse_record(rest, source.journal));
    TRY_ASSIGN(Event event, event_of(record));
    events.push_back(std::move(event));
    rest = rest.subspan(record.length / 8);
  }
  return events;
}

/// The stored payload of a frame, as far as one that decompress() accepts can be long.
Result<Bytes> read_payload(const Storage& file, uint64_t offset, uint64_t stored_length) {
  if (stored_length > ZSTD_compressBound(kMaxRawBytes)) {
    return fail_damaged(fmt::format("a payload of {} stored bytes is longer than any can be", stored_length));
  }
  Bytes stored(stored_length);
  TRY(file.read(offset, stored));
  return stored;
}

Result<std::vector<Event>> read_frame_events(const Storage& file, const ChunkSource& source) {
  TRY_ASSIGN(Bytes stored,
             read_payload(file, source.info.offset + kFrameHeaderBytes, source.info.stored_bytes - kFrameHeaderBytes));
  TRY_ASSIGN(std::vector<Event> events, decode_chunk(stored, source.raw_length));
  auto numbered = static_cast<uint64_t>(std::ranges::count_if(events, [](const Event& e) { return is_numbered(e.body); }));
  if (events.size() != source.info.records || numbered != source.info.events) {
    return fail_damaged("a chunk holds another number of events than its frame says");
  }
  return events;
}

}  // namespace

Result<Scan> scan_file(const Storage& file, const std::string& name) {
  TRY(check_file_header(file, name));
  return Scanner(file).run(name);
}

Result<Words> frame_message(const Storage& file, const Frame& frame) {
  TRY_ASSIGN(Bytes stored, read_payload(file, frame.payload_at(), frame.stored_length));
  return decompress(stored, frame.raw_length);
}

Result<std::vector<Event>> read_chunk_source(const Storage& file, const ChunkSource& source) {
  auto events = source.log != nullptr ? read_journal(source) : read_frame_events(file, source);
  if (events) return events;
  return fail_damaged(fmt::format("the chunk at byte {} (event {} on) is damaged: {}", source.info.offset,
                                  source.info.first_event, events.error().what),
                      "The events before it can be read.");
}

}  // namespace dejavm::trace
