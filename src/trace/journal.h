// An open chunk: a record log in a shared mapping of the file.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "base/mapping.h"
#include "base/result.h"
#include "trace/frame_file.h"
#include "trace/message.h"
#include "trace/storage.h"

namespace dejavm::trace {

inline constexpr uint64_t kJournalHeaderBytes = 64;

/// What a journal's header says and a copy of the records that it vouches for: a recorder that lives overwrites them.
struct JournalView {
  uint64_t offset = 0;  ///< of the journal in the file
  uint64_t sequence = 0;
  uint64_t first_event = 0;
  uint64_t committed = 0;  ///< bytes of complete records
  Words log;               ///< the words of them, or fewer where the file is cut off
};

/// Appends records. A record counts from commit() on, which is one store into the page cache: it outlives the process.
/// Used by one thread at a time.
class Journal {
 public:
  /// Starts a journal in [offset, offset + size) of the file, whose blocks are reserved, and names it in the file header.
  /// `sequence`: number of the chunk that it becomes; `first_event`: numbered events before it.
  static Result<std::unique_ptr<Journal>> create(FrameFile& file, unsigned entry, uint64_t offset, uint64_t size,
                                                 uint64_t sequence, uint64_t first_event);

  uint64_t offset() const { return offset_; }
  uint64_t size() const { return mapping_.size(); }
  unsigned entry() const { return entry_; }
  uint64_t sequence() const { return sequence_; }
  uint64_t first_event() const { return first_event_; }
  uint64_t records() const { return records_; }
  uint64_t first_time_us() const { return first_time_us_; }

  bool has_room(uint64_t bytes) const { return bytes <= room(size()) - used_; }
  /// Bytes of records that fit a journal of this size. The rest is slack: the encoded chunk is never larger than the
  /// journal.
  static uint64_t room(uint64_t size) { return size - vm_page(); }
  /// Where the next record goes.
  uint8_t* next() const { return mapping_.data() + kJournalHeaderBytes + used_; }
  void commit(uint64_t length, uint64_t time_us);

  std::span<const uint64_t> log() const {
    return {reinterpret_cast<const uint64_t*>(mapping_.data() + kJournalHeaderBytes), used_ / 8};
  }

 private:
  static constexpr uint64_t vm_page() { return 4096; }
  Journal(Mapping mapping, unsigned entry, uint64_t offset, uint64_t sequence, uint64_t first_event)
      : mapping_(std::move(mapping)), entry_(entry), offset_(offset), sequence_(sequence), first_event_(first_event) {}

  Mapping mapping_;
  const unsigned entry_;
  const uint64_t offset_;
  const uint64_t sequence_;
  const uint64_t first_event_;
  uint64_t used_ = 0;
  uint64_t records_ = 0;
  uint64_t first_time_us_ = 0;
};

/// The journal that an entry of the file header names; nothing where it names none or what is there is not a journal.
std::optional<JournalView> find_journal(const Storage& file, unsigned entry);

}  // namespace dejavm::trace
