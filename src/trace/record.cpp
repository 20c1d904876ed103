#include "trace/record.h"

#include <xxhash.h>

#include "base/check.h"
#include "trace/chunk_model.h"
#include "trace/event_message.h"

namespace dejavm::trace {
namespace {

// Offsets in a record header: u32 length, u32 check, u64 time, u8 kind, u8 form, u8 shape, u8 numbered, 4 zeros.
constexpr size_t kCheckAt = 4, kTimeAt = 8, kKindAt = 16, kFormAt = 17, kShapeAt = 18, kNumberedAt = 19;
constexpr uint8_t kAccessKind = 0, kMessageKind = 1;

/// Covers all but the length and the check itself; a wrong length leads to a wrong check.
uint32_t check_of(const uint8_t* record, uint64_t length, uint64_t seed) {
  return static_cast<uint32_t>(XXH3_64bits_withSeed(record + kTimeAt, length - kTimeAt, seed));
}

uint64_t seal_record(uint8_t* to, uint64_t length, uint64_t seed) {
  store_le(to, static_cast<uint32_t>(length));
  store_le(to + kCheckAt, check_of(to, length, seed));
  return length;
}

void put_header(uint8_t* to, uint64_t time_us, uint8_t kind, uint8_t form, uint8_t shape, bool numbered) {
  store_le(to + kTimeAt, time_us);
  uint64_t fields = kind | uint64_t{form} << 8 | uint64_t{shape} << 16 | uint64_t{numbered} << 24;
  store_le(to + kKindAt, fields);
}

}  // namespace

uint64_t put_access_record(uint8_t* to, const AccessEvent& event, uint64_t time_us, uint64_t seed) {
  CHECK(event.access.size >= 1 && event.access.size <= 8);
  unsigned form = static_cast<unsigned>(event.joins_previous) * kFormJoins |
                  static_cast<unsigned>(event.instruction.has_value()) * kFormInstruction;
  put_header(to, time_us, kAccessKind, static_cast<uint8_t>(form), shape_of(event.access), true);
  store_le(to + kRecordHeaderBytes, event.access.addr);
  store_le(to + kRecordHeaderBytes + 8, low_bytes(event.access.value, event.access.size));
  if (!event.instruction) return seal_record(to, kAccessRecordBytes - 8, seed);
  store_le(to + kRecordHeaderBytes + 16, *event.instruction);
  return seal_record(to, kAccessRecordBytes, seed);
}

Words event_message(const EventBody& body) {
  return build_message<schema::Event>([&](schema::Event::Builder to) { write_event(to, body); });
}

uint64_t put_message_record(uint8_t* to, std::span<const uint64_t> message, bool numbered, uint64_t time_us, uint64_t seed) {
  put_header(to, time_us, kMessageKind, 0, 0, numbered);
  std::memcpy(to + kRecordHeaderBytes, message.data(), message.size_bytes());
  return seal_record(to, kRecordHeaderBytes + message.size_bytes(), seed);
}

Result<Record> parse_record(std::span<const uint64_t> log, uint64_t seed) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(log.data());
  Record record;
  record.length = log.size_bytes() < kRecordHeaderBytes ? 0 : load_le<uint32_t>(bytes);
  if (record.length < kRecordHeaderBytes || record.length % 8 != 0 || record.length > log.size_bytes()) {
    return fail_damaged("a record is cut off or has an impossible length");
  }
  if (load_le<uint32_t>(bytes + kCheckAt) != check_of(bytes, record.length, seed)) {
    return fail_damaged("a record's checksum is wrong");
  }
  record.time_us = load_le<uint64_t>(bytes + kTimeAt);
  record.numbered = bytes[kNumberedAt] != 0;
  if (bytes[kKindAt] == kMessageKind) {
    record.message = log.subspan(kRecordHeaderBytes / 8, (record.length - kRecordHeaderBytes) / 8);
    return record;
  }
  record.is_access = true;
  record.form = bytes[kFormAt];
  record.shape = bytes[kShapeAt];
  bool has_instruction = (record.form & kFormInstruction) != 0;
  if (bytes[kKindAt] != kAccessKind || record.form > (kFormJoins | kFormInstruction) || record.shape > kShapeMask ||
      record.length != kAccessRecordBytes - (has_instruction ? 0 : 8)) {
    return fail_damaged("a record is malformed");
  }
  record.addr = load_le<uint64_t>(bytes + kRecordHeaderBytes);
  record.value = low_bytes(load_le<uint64_t>(bytes + kRecordHeaderBytes + 8), shape_size(record.shape));
  if (has_instruction) record.instruction = load_le<uint64_t>(bytes + kRecordHeaderBytes + 16);
  return record;
}

Result<Event> event_of(const Record& record) {
  if (!record.is_access) {
    TRY_ASSIGN(EventBody body, parse_message<schema::Event>(record.message, "an event", read_event));
    if (is_numbered(body) != record.numbered) return fail_damaged("a record is malformed");
    return Event{std::move(body), record.time_us};
  }
  AccessEvent event;
  event.access = {.space = (record.shape & kShapePio) != 0 ? vm::Space::pio : vm::Space::mmio,
                  .direction = (record.shape & kShapeWrite) != 0 ? vm::Direction::write : vm::Direction::read,
                  .size = static_cast<uint8_t>(shape_size(record.shape)),
                  .addr = record.addr,
                  .value = record.value};
  event.joins_previous = (record.form & kFormJoins) != 0;
  if ((record.form & kFormInstruction) != 0) event.instruction = record.instruction;
  return Event{event, record.time_us};
}

Words records_of(std::span<const Event> events, uint64_t seed) {
  Words log;
  for (const Event& event : events) {
    size_t at = log.size();
    const auto* access = std::get_if<AccessEvent>(&event.body);
    Words message = access != nullptr ? Words() : event_message(event.body);
    log.resize(at + kAccessRecordBytes / 8 + message.size());
    auto* to = reinterpret_cast<uint8_t*>(log.data() + at);
    uint64_t length = access != nullptr ? put_access_record(to, *access, event.time_us, seed)
                                        : put_message_record(to, message, is_numbered(event.body), event.time_us, seed);
    log.resize(at + length / 8);
  }
  return log;
}

}  // namespace dejavm::trace
