// The file header and the frames of a trace file as bytes (docs/trace-format.md, "File" and "Frames").
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"
#include "trace/storage.h"

namespace dejavm::trace {

inline constexpr uint64_t kFileHeaderBytes = 64;
inline constexpr uint64_t kFrameHeaderBytes = 64;

/// Offsets in the file header: magic, u32 version, u32 zero, two journal entries of {u64 offset, u64 size}, zeros, u64
/// check.
inline constexpr std::array<uint8_t, 8> kFileMagic = {'D', 'E', 'J', 'A', 'V', 'M', '\r', '\n'};
inline constexpr uint64_t kVersionAt = 8;
inline constexpr uint64_t kJournalTableAt = 16;
inline constexpr uint64_t kJournalEntryBytes = 16;
inline constexpr unsigned kJournalEntries = 2;
inline constexpr uint64_t kFileCheckAt = 56;

enum class FrameType : uint16_t {
  description = 1,
  memory = 2,  ///< initial memory; the last one has records = 1
  chunk = 3,
  keyframe_pages = 4,  ///< belong to the keyframe frame that follows them
  keyframe = 5,
  index = 6,
  end = 7,
};

/// What a frame's header says.
struct Frame {
  FrameType type = FrameType::chunk;
  uint64_t offset = 0;  ///< of the header in the file; not stored
  uint64_t stored_length = 0;
  uint64_t raw_length = 0;
  uint64_t sequence = 0;     ///< frames are numbered from 0
  uint64_t first_event = 0;  ///< chunk: number of its first numbered event; otherwise numbered events before it
  uint32_t events = 0;       ///< chunk: numbered events
  uint32_t records = 0;      ///< chunk: all events
  uint64_t payload_hash = 0;

  uint64_t payload_at() const { return offset + kFrameHeaderBytes; }
  uint64_t end() const { return payload_at() + stored_length; }
};

/// A header for a new file, without journals.
std::array<uint8_t, kFileHeaderBytes> file_header();
/// Checks that a trace of a version that this program reads begins here; `name` is for the error.
Status check_file_header(const Storage& file, std::string_view name);

uint64_t payload_hash(ByteSpan payload);
/// The bytes of a header; `frame.offset` goes into its check, so that it is valid in its place only.
std::array<uint8_t, kFrameHeaderBytes> frame_header(const Frame& frame);
/// Parses and checks the frame that starts at `offset`: header, length within the file, sequence, payload hash.
Result<Frame> parse_frame(const Storage& file, uint64_t offset, uint64_t sequence);

}  // namespace dejavm::trace
