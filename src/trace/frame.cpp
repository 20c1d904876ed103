#include "trace/frame.h"

#include <xxhash.h>

#include <algorithm>

#include "trace/limits.h"

namespace dejavm::trace {
namespace {

constexpr uint32_t kFrameMagic = 0x46545644;  // "DVTF"
// Offsets in a frame header.
constexpr size_t kTypeAt = 4, kStoredAt = 8, kRawAt = 16, kSequenceAt = 24, kFirstEventAt = 32, kEventsAt = 40,
                 kRecordsAt = 44;
constexpr size_t kPayloadHashAt = 48, kHeaderHashAt = 56;

uint64_t header_hash(const uint8_t* header, uint64_t offset) { return XXH3_64bits_withSeed(header, kHeaderHashAt, offset); }

}  // namespace

std::array<uint8_t, kFileHeaderBytes> file_header() {
  std::array<uint8_t, kFileHeaderBytes> header{};
  std::copy(kFileMagic.begin(), kFileMagic.end(), header.begin());
  store_le(&header[kVersionAt], kFormatVersion);
  store_le(&header[kFileCheckAt], static_cast<uint64_t>(XXH3_64bits(header.data(), kJournalTableAt)));
  return header;
}

Status check_file_header(const Storage& file, std::string_view name) {
  std::array<uint8_t, kFileHeaderBytes> header{};
  TRY(file.read(0, MutableByteSpan(header).first(std::min<uint64_t>(file.size(), header.size()))));
  if (!std::equal(kFileMagic.begin(), kFileMagic.end(), header.begin())) {
    return fail_damaged(fmt::format("{} is not a dejavm trace: it does not begin with DEJAVM", name),
                        "Give a file that `dejavm record -o FILE` wrote.");
  }
  if (file.size() < kFileHeaderBytes)
    return fail_damaged(fmt::format("{} is cut off in its first {} bytes", name, kFileHeaderBytes));
  auto version = load_le<uint32_t>(&header[kVersionAt]);
  if (version > kFormatVersion) {
    return fail(
        fmt::format("{}: trace version {}, this dejavm reads up to {}; use a newer dejavm", name, version, kFormatVersion));
  }
  if (version == 0 || load_le<uint64_t>(&header[kFileCheckAt]) != XXH3_64bits(header.data(), kJournalTableAt)) {
    return fail_damaged(fmt::format("{} is damaged in its first {} bytes", name, kFileHeaderBytes));
  }
  return {};
}

uint64_t payload_hash(ByteSpan payload) { return XXH3_64bits(payload.data(), payload.size()); }

std::array<uint8_t, kFrameHeaderBytes> frame_header(const Frame& frame) {
  std::array<uint8_t, kFrameHeaderBytes> header{};
  store_le(&header[0], kFrameMagic);
  store_le(&header[kTypeAt], static_cast<uint32_t>(frame.type));
  store_le(&header[kStoredAt], frame.stored_length);
  store_le(&header[kRawAt], frame.raw_length);
  store_le(&header[kSequenceAt], frame.sequence);
  store_le(&header[kFirstEventAt], frame.first_event);
  store_le(&header[kEventsAt], frame.events);
  store_le(&header[kRecordsAt], frame.records);
  store_le(&header[kPayloadHashAt], frame.payload_hash);
  store_le(&header[kHeaderHashAt], header_hash(header.data(), frame.offset));
  return header;
}

Result<Frame> parse_frame(const Storage& file, uint64_t offset, uint64_t sequence) {
  std::array<uint8_t, kFrameHeaderBytes> bytes{};
  TRY(file.read(offset, bytes));
  const uint8_t* header = bytes.data();
  if (load_le<uint64_t>(header + kHeaderHashAt) != header_hash(header, offset) || load_le<uint32_t>(header) != kFrameMagic) {
    return fail_damaged("no intact frame");
  }
  Frame frame{.type = static_cast<FrameType>(load_le<uint32_t>(header + kTypeAt)),
              .offset = offset,
              .stored_length = load_le<uint64_t>(header + kStoredAt),
              .raw_length = load_le<uint64_t>(header + kRawAt),
              .sequence = load_le<uint64_t>(header + kSequenceAt),
              .first_event = load_le<uint64_t>(header + kFirstEventAt),
              .events = load_le<uint32_t>(header + kEventsAt),
              .records = load_le<uint32_t>(header + kRecordsAt),
              .payload_hash = load_le<uint64_t>(header + kPayloadHashAt)};
  auto type = load_le<uint32_t>(header + kTypeAt);
  if (type < static_cast<uint32_t>(FrameType::description) || type > static_cast<uint32_t>(FrameType::end)) {
    return fail_damaged(fmt::format("a frame of the unknown type {}", type));
  }
  if (frame.sequence != sequence) return fail_damaged(fmt::format("frame {} where {} belongs", frame.sequence, sequence));
  TRY_ASSIGN(uint64_t hash, file.hash(frame.payload_at(), frame.stored_length));
  if (hash != frame.payload_hash) return fail_damaged("wrong checksum");
  return frame;
}

}  // namespace dejavm::trace
