// A chunk of events to and from its stored form (docs/trace-format.md, "Chunks").
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "trace/event.h"

namespace dejavm::trace {

/// A chunk as it stands in a frame.
struct EncodedChunk {
  Bytes stored;             ///< compressed
  uint64_t raw_length = 0;  ///< before compression
  uint32_t records = 0;     ///< events of all kinds
  uint32_t events = 0;      ///< numbered events
};

/// Encodes chunks one after another; keeps its tables (about 9 MiB). Not thread-safe.
class ChunkEncoder {
 public:
  ChunkEncoder(bool has_time, int zstd_level);
  ~ChunkEncoder();

  /// Encodes a record log (trace/record.h) of 1..65536 records that was written with this seed.
  Result<EncodedChunk> encode(std::span<const uint64_t> log, uint64_t seed);

 private:
  class State;
  std::unique_ptr<State> state_;
};

/// Encodes events, 1..65536 of them.
Result<EncodedChunk> encode_chunk(std::span<const Event> events, bool has_time, int zstd_level = 3);

/// Decodes a stored chunk, untrusted. `raw_length` is what its frame claims.
Result<std::vector<Event>> decode_chunk(ByteSpan stored, uint64_t raw_length);

}  // namespace dejavm::trace
