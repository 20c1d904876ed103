// The walk over a trace file that finds out what can be read of it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "trace/description.h"
#include "trace/frame.h"
#include "trace/message.h"
#include "trace/reader.h"

namespace dejavm::trace {

/// Where the events of a chunk come from.
struct ChunkSource {
  ChunkInfo info;
  uint64_t raw_length = 0;           ///< of a chunk frame
  std::shared_ptr<const Words> log;  ///< the records, where they stood in a live journal
  uint64_t journal = 0;              ///< number of the chunk that the journal becomes
};

struct KeyframeSource {
  Frame frame;
  std::vector<Frame> pages;
};

/// What an intact prefix of the file holds.
struct Scan {
  Description description;
  std::vector<Frame> frames;  ///< all intact frames
  std::vector<Frame> memory;
  std::vector<ChunkSource> chunks;
  std::vector<KeyframeSource> keyframes;
  uint64_t events = 0;
  std::optional<End> end;
  std::string damage;
};

/// Walks the frames up to the first that is not intact or does not continue the events before it; where there is no end, the
/// live journals follow. Fails where not even the description and the initial memory are intact.
Result<Scan> scan_file(const Storage& file, const std::string& name);

/// The payload of a frame that was found intact.
Result<Words> frame_message(const Storage& file, const Frame& frame);
/// The events of a chunk, checked against its header.
Result<std::vector<Event>> read_chunk_source(const Storage& file, const ChunkSource& source);

}  // namespace dejavm::trace
