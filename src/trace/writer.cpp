#include "trace/writer.h"

#include <unistd.h>

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "trace/chunk_thread.h"
#include "trace/compress.h"
#include "trace/description_message.h"
#include "trace/frame_file.h"
#include "trace/journal.h"
#include "trace/limits.h"
#include "trace/pages.h"
#include "trace/record.h"

namespace dejavm::trace {
namespace {

constexpr uint64_t kMinJournalBytes = 64 << 10;

uint64_t align_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

/// A payload that is ready for a frame.
struct Payload {
  Frame frame;
  Bytes stored;
};

uint64_t frames_size(const std::vector<Payload>& payloads) {
  uint64_t size = 0;
  for (const Payload& payload : payloads) size += kFrameHeaderBytes + payload.stored.size();
  return size;
}

/// Layout while recording: frames from the start; behind the tail, room for the frames of all live journals and of what is
/// to be written directly; behind that the journals, at most two, in slots. Invariant: all blocks up to the end of the last
/// journal are reserved, and no frame ever reaches a live journal.
class FileWriter final : public Writer {
 public:
  FileWriter(std::unique_ptr<FrameFile> file, const Description& description, WriterOptions options)
      : file_(std::move(file)),
        options_(options),
        compressor_(options.zstd_level),
        has_time_(description.has_time),
        thread_(*file_, description.has_time, options.zstd_level) {
    options_.chunk_events = std::clamp<uint64_t>(options.chunk_events, 1, kMaxChunkRecords);
    options_.journal_bytes =
        align_up(std::clamp(options.journal_bytes, kMinJournalBytes, kMaxJournalBytes), kMinJournalBytes);
  }

  Status start(const Description& description, const vm::GuestMemory& memory);

  Status append_access(const AccessEvent& event, uint64_t time_us) override;
  Status append(const Event& event) override;
  Status append_keyframe(const vm::CpuState& cpu, const vm::GuestMemory& memory,
                         const std::vector<vm::DeviceRegion>& devices, const std::vector<uint64_t>& pages,
                         std::optional<StepCounts> steps, uint64_t time_us) override;
  uint64_t events() const override { return events_; }
  Status finish(const End& end) override;

 private:
  Status append_now(const AccessEvent& event, uint64_t time_us);
  Status append_message(std::span<const uint64_t> message, bool numbered, uint64_t time_us);
  Status append_large(std::span<const uint64_t> message, bool numbered, uint64_t time_us);
  Status make_room(uint64_t bytes, uint64_t time_us);
  Status next_journal(uint64_t extra, uint64_t chunks_between);
  Status write_frames(const std::vector<Payload>& payloads);
  Status seal(const End& end);
  Payload pack(FrameType type, const Words& message);
  /// Keeps the first error: all later calls return it.
  Status sticky(Status status);

  std::unique_ptr<FrameFile> file_;
  WriterOptions options_;
  Compressor compressor_;
  const bool has_time_;
  ChunkThread thread_;
  std::unique_ptr<Journal> journal_;  // the open chunk
  uint64_t events_ = 0;
  uint64_t keyframes_ = 0;
  bool finished_ = false;
  Status status_;
};

Status check_map(const std::vector<vm::MemoryRange>& map) {
  if (map.size() <= kMaxMapRanges) return {};
  return fail(fmt::format("a memory map of {} ranges does not fit a trace; at most {} do", map.size(), kMaxMapRanges));
}

Status FileWriter::sticky(Status status) {
  if (!status && status_) status_ = status;
  return status;
}

Payload FileWriter::pack(FrameType type, const Words& message) {
  ByteSpan raw = bytes_of(message);
  return {{.type = type, .raw_length = raw.size(), .first_event = events_}, compressor_.compress(raw)};
}

Status FileWriter::write_frames(const std::vector<Payload>& payloads) {
  TRY(file_->reserve(file_->tail() + frames_size(payloads)));
  for (const Payload& payload : payloads) TRY(file_->append(payload.frame, payload.stored));
  return {};
}

Status FileWriter::start(const Description& description, const vm::GuestMemory& memory) {
  TRY(check_map(description.memory));
  TRY(write_frames({pack(FrameType::description, description_message(description))}));
  TRY(write_initial_pages(memory, [&](const Words& message, bool last) {
    Payload payload = pack(FrameType::memory, message);
    payload.frame.records = last ? 1 : 0;
    return write_frames({payload});
  }));
  return next_journal(0, 0);
}

/// Opens a journal and hands the one before it to the thread. `extra`: bytes of frames that will be written directly before
/// the new journal's own; `chunks_between`: chunks that were written directly since the journal before it.
Status FileWriter::next_journal(uint64_t extra, uint64_t chunks_between) {
  TRY(thread_.wait_idle());
  uint64_t slot = options_.journal_bytes;
  uint64_t offset = align_up(file_->tail() + 2 * slot + extra, slot);
  if (journal_ != nullptr && offset == journal_->offset()) offset += slot;
  TRY(file_->reserve(offset + slot));
  bool used = journal_ != nullptr && journal_->records() > 0;
  uint64_t sequence = (journal_ == nullptr ? 0 : journal_->sequence()) + (used ? 1 : 0) + chunks_between;
  unsigned entry = journal_ == nullptr ? 0 : 1 - journal_->entry();
  TRY_ASSIGN(std::unique_ptr<Journal> next, Journal::create(*file_, entry, offset, slot, sequence, events_));
  std::unique_ptr<Journal> full = std::exchange(journal_, std::move(next));
  if (used) {
    thread_.submit(std::move(full), true);
  } else if (full != nullptr) {
    file_->set_journal(full->entry(), 0, 0);
  }
  return {};
}

/// Closes the open chunk if it is full or old.
Status FileWriter::make_room(uint64_t bytes, uint64_t time_us) {
  bool full = journal_->records() >= options_.chunk_events || !journal_->has_room(bytes);
  bool old = has_time_ && journal_->records() > 0 && time_us > journal_->first_time_us() &&
             time_us - journal_->first_time_us() >= options_.chunk_ms * 1000;
  if (!full && !old) return {};
  return next_journal(0, 0);
}

Status FileWriter::append_access(const AccessEvent& event, uint64_t time_us) {
  if (!status_) return status_;
  return append_now(event, has_time_ ? time_us : 0);
}

Status FileWriter::append_now(const AccessEvent& event, uint64_t time_us) {
  TRY(sticky(make_room(kAccessRecordBytes, time_us)));
  uint64_t length = put_access_record(journal_->next(), event, time_us, journal_->sequence());
  journal_->commit(length, time_us);
  ++events_;
  return {};
}

Status FileWriter::append(const Event& event) {
  if (!status_) return status_;
  uint64_t time_us = has_time_ ? event.time_us : 0;
  if (const auto* access = std::get_if<AccessEvent>(&event.body)) return append_now(*access, time_us);
  const auto* write = std::get_if<MemoryWriteEvent>(&event.body);
  if (write != nullptr && write->bytes.size() > kMaxEventBytes) {
    return sticky(fail(
        fmt::format("a memory write of {} bytes does not fit a trace; at most {} do", write->bytes.size(), kMaxEventBytes),
        "Split it where it is made."));
  }
  if (const auto* map = std::get_if<MemoryMapEvent>(&event.body)) TRY(sticky(check_map(map->memory)));
  return sticky(append_message(event_message(event.body), is_numbered(event.body), time_us));
}

Status FileWriter::append_message(std::span<const uint64_t> message, bool numbered, uint64_t time_us) {
  uint64_t bytes = kRecordHeaderBytes + message.size_bytes();
  if (bytes > Journal::room(options_.journal_bytes)) return append_large(message, numbered, time_us);
  TRY(make_room(bytes, time_us));
  uint64_t length = put_message_record(journal_->next(), message, numbered, time_us, journal_->sequence());
  journal_->commit(length, time_us);
  events_ += numbered ? 1 : 0;
  return {};
}

/// An event that is larger than a journal becomes a chunk of its own, written before append() returns. An empty journal with
/// the number of that chunk stands behind it meanwhile, so that a kill leaves a file that is whole.
Status FileWriter::append_large(std::span<const uint64_t> message, bool numbered, uint64_t time_us) {
  uint64_t bytes = kRecordHeaderBytes + message.size_bytes();
  TRY(next_journal(bytes + kMinJournalBytes, 0));
  TRY(thread_.wait_idle());
  Words log(bytes / 8);
  put_message_record(reinterpret_cast<uint8_t*>(log.data()), message, numbered, time_us, journal_->sequence());
  TRY(thread_.write_chunk(log, journal_->sequence(), events_));
  events_ += numbered ? 1 : 0;
  return next_journal(0, 1);
}

Status FileWriter::append_keyframe(const vm::CpuState& cpu, const vm::GuestMemory& memory,
                                   const std::vector<vm::DeviceRegion>& devices, const std::vector<uint64_t>& pages,
                                   std::optional<StepCounts> steps, uint64_t time_us) {
  if (!status_) return status_;
  std::vector<Payload> payloads;
  TRY(sticky(write_pages(memory, pages, true, [&](const Words& message, bool) -> Status {
    payloads.push_back(pack(FrameType::keyframe_pages, message));
    return {};
  })));
  payloads.push_back(pack(FrameType::keyframe, keyframe_message({events_, cpu, memory.map(), devices, steps})));
  TRY(sticky(next_journal(frames_size(payloads), 0)));
  TRY(sticky(thread_.wait_idle()));
  TRY(sticky(write_frames(payloads)));
  return append({KeyframeEvent{keyframes_++}, time_us});
}

Status FileWriter::finish(const End& end) {
  CHECK(!finished_);
  finished_ = true;
  if (!status_) {
    static_cast<void>(thread_.wait_idle());
    return status_;
  }
  return sticky(seal(end));
}

Status FileWriter::seal(const End& end) {
  TRY(thread_.wait_idle());
  uint64_t live = journal_->offset();
  if (journal_->records() > 0) {
    // The journal stays live behind its own frame, so that a kill before the end is written leaves a file that is whole.
    thread_.submit(std::move(journal_), false);
    TRY(thread_.wait_idle());
  }
  std::vector<Payload> payloads;
  payloads.push_back(pack(FrameType::index, index_message(file_->frames())));
  Words message = end_message(end);
  ByteSpan raw = bytes_of(message);
  payloads.push_back({{.type = FrameType::end, .raw_length = raw.size(), .first_event = events_}, {raw.begin(), raw.end()}});
  auto forget_journals = [&] {
    for (unsigned entry = 0; entry < kJournalEntries; ++entry) file_->set_journal(entry, 0, 0);
  };
  if (file_->tail() + frames_size(payloads) > live) forget_journals();
  TRY(write_frames(payloads));
  forget_journals();
  return file_->truncate();
}

}  // namespace

Result<std::unique_ptr<Writer>> Writer::create(const std::string& path, const Description& description,
                                               const vm::GuestMemory& memory, WriterOptions options) {
  TRY_ASSIGN(std::unique_ptr<FrameFile> file, FrameFile::create(path));
  auto writer = std::make_unique<FileWriter>(std::move(file), description, options);
  if (Status started = writer->start(description, memory); !started) {
    writer.reset();
    ::unlink(path.c_str());  // there is nothing in it
    return fail(started.error().what,
                "Nothing was recorded. A recording reserves some 16 MiB at its start: free space or write elsewhere.");
  }
  return writer;
}

}  // namespace dejavm::trace
