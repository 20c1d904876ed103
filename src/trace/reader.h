// Reads a trace. A trace is untrusted input: nothing here crashes, loops or allocates what a file merely claims.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "trace/description.h"
#include "trace/event.h"
#include "vm/guest_memory.h"

namespace dejavm::trace {

struct ChunkInfo {
  uint64_t first_event = 0;   ///< number of its first numbered event
  uint64_t events = 0;        ///< numbered events in it
  uint64_t records = 0;       ///< all events in it
  uint64_t offset = 0;        ///< of its frame in the file
  uint64_t stored_bytes = 0;  ///< of its frame
};

struct Keyframe {
  uint64_t after_event = 0;  ///< number of numbered events before it
  vm::CpuState cpu;
  std::vector<vm::MemoryRange> memory;
  std::vector<vm::DeviceRegion> devices;
  std::optional<StepCounts> steps;  ///< none: the recorder did not count or, an older one, did not write it down
};

/// Random access to the chunks of a trace file. The file is read as it is needed: one that changes under the reader is
/// an error of the call that meets the change. Not thread-safe.
class Reader {
 public:
  /// Opens a trace, sealed or not. Refuses by name: not a trace, a newer version, a damaged head (kind `damaged`). Damage
  /// further on is not an error here: damage() tells, and everything complete before it can be read.
  static Result<std::unique_ptr<Reader>> open(const std::string& path);
  /// The same from memory (tests, fuzzers); the bytes must outlive the reader.
  static Result<std::unique_ptr<Reader>> open(ByteSpan bytes);
  virtual ~Reader() = default;

  virtual const Description& description() const = 0;
  /// Writes the initial memory into a GuestMemory of the description's sizes.
  virtual Status load_initial_memory(vm::GuestMemory& memory) const = 0;

  virtual const std::vector<ChunkInfo>& chunks() const = 0;
  /// Decodes one chunk.
  virtual Result<std::vector<Event>> read_chunk(size_t index) const = 0;
  /// Numbered events in all readable chunks.
  virtual uint64_t event_count() const = 0;

  virtual size_t keyframe_count() const = 0;
  virtual Result<Keyframe> read_keyframe(size_t index) const = 0;
  /// Brings memory that holds the initial contents to those of a keyframe: applies the pages of keyframes 0..index.
  virtual Status load_keyframe_memory(size_t index, vm::GuestMemory& memory) const = 0;

  /// The end; null for an unsealed or cut-off trace.
  virtual const End* end() const = 0;
  virtual bool sealed() const = 0;
  /// What is wrong with the file ("cut off at byte 12345 after event 99", ...), empty for an intact one. An unsealed file
  /// that is otherwise whole is not damaged.
  virtual const std::string& damage() const = 0;
  virtual uint64_t file_size() const = 0;
  /// Checks every frame's checksum and decodes every chunk.
  virtual Status verify() const = 0;
};

/// Walks the events of a reader in order, one chunk in memory at a time.
class EventCursor {
 public:
  explicit EventCursor(const Reader& reader) : reader_(reader) {}

  /// The next event, or null at the end. The pointer is valid until the next call to next() or seek().
  Result<const Event*> next();
  /// Looks at what next() will return without taking it.
  Result<const Event*> peek();
  /// The number that the next numbered event has.
  uint64_t next_number() const { return next_number_; }
  /// Positions so that next() gives the numbered event `number` (or the end); unnumbered events directly before it are
  /// skipped.
  Status seek(uint64_t number);

 private:
  Status load_chunk(size_t index);

  const Reader& reader_;
  std::vector<Event> events_;
  size_t chunk_ = 0;     // index of the chunk to load when events_ is used up
  size_t position_ = 0;  // in events_
  uint64_t next_number_ = 0;
};

}  // namespace dejavm::trace
