// The raw record log: how events stand in an open chunk before it is encoded (docs/trace-format.md, "Journals").
#pragma once

#include <span>

#include "base/bytes.h"
#include "base/result.h"
#include "trace/event.h"
#include "trace/message.h"

namespace dejavm::trace {

/// Bytes of a record before its payload; records are multiples of 8 and stand at multiples of 8.
inline constexpr uint64_t kRecordHeaderBytes = 24;
/// The longest record of an access.
inline constexpr uint64_t kAccessRecordBytes = kRecordHeaderBytes + 24;

/// One record, taken apart; borrows the log. For an access, `form` and `shape` are those of chunk_model.h.
struct Record {
  uint64_t time_us = 0;
  uint64_t length = 0;  ///< of the whole record
  bool is_access = false;
  bool numbered = false;
  uint8_t form = 0;
  uint8_t shape = 0;
  uint64_t addr = 0;
  uint64_t value = 0;
  uint64_t instruction = 0;           ///< where form has kFormInstruction
  std::span<const uint64_t> message;  ///< a schema::Event, for other events
};

/// Writes the record of an access; `to` has room for kAccessRecordBytes. Returns its length. `seed` is the number of the
/// chunk: a record that is left from an earlier use of the place is not taken for one of this chunk.
uint64_t put_access_record(uint8_t* to, const AccessEvent& event, uint64_t time_us, uint64_t seed);

/// The Cap'n Proto form of an event that is not an access.
Words event_message(const EventBody& body);
/// Writes the record of such an event; `to` has room for kRecordHeaderBytes and the message.
uint64_t put_message_record(uint8_t* to, std::span<const uint64_t> message, bool numbered, uint64_t time_us, uint64_t seed);

/// Takes the first record of a log apart. The log is untrusted.
Result<Record> parse_record(std::span<const uint64_t> log, uint64_t seed);
/// The event of a record.
Result<Event> event_of(const Record& record);

/// A log of these events (tests, tools).
Words records_of(std::span<const Event> events, uint64_t seed);

}  // namespace dejavm::trace
