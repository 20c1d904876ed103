// Writes a trace while a guest runs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "trace/description.h"
#include "trace/event.h"
#include "vm/guest_memory.h"

namespace dejavm::trace {

struct WriterOptions {
  uint64_t chunk_events = 65536;  ///< at most; 1..65536
  uint64_t chunk_ms = 1000;       ///< a chunk is closed and compressed at the latest after this time
  int zstd_level = 3;
  uint64_t journal_bytes = uint64_t{4} << 20;  ///< room for an open chunk; 64 KiB to 256 MiB, in steps of 64 KiB
};

/// Appends events to a trace file. Events go into the open chunk, a shared mapping of the file's tail, so that what append()
/// returned for survives a SIGKILL of the process; full chunks are compressed by a thread of the writer's own. append() and
/// the rest from one thread.
/// Errors (disk full) are sticky: the call that meets one returns it, as do all later ones, and finish() still leaves a
/// readable, unsealed file with everything that was appended before.
class Writer {
 public:
  /// Creates the file (fails if it cannot), writes the description and the initial memory: all non-zero pages, deduplicated.
  /// What `memory` holds must be among its dirty pages, as it is until somebody takes them.
  static Result<std::unique_ptr<Writer>> create(const std::string& path, const Description& description,
                                                const vm::GuestMemory& memory, WriterOptions options = {});
  virtual ~Writer() = default;

  /// The hot path: appends an AccessEvent without allocating.
  virtual Status append_access(const AccessEvent& event, uint64_t time_us) = 0;
  virtual Status append(const Event& event) = 0;
  /// Writes a keyframe (CPU state, memory map, device table and the pages changed since the last keyframe or the start) and
  /// the KeyframeEvent that points to it. `pages`: backing page numbers, ascending. `steps`: where the engine counts them.
  virtual Status append_keyframe(const vm::CpuState& cpu, const vm::GuestMemory& memory,
                                 const std::vector<vm::DeviceRegion>& devices, const std::vector<uint64_t>& pages,
                                 std::optional<StepCounts> steps, uint64_t time_us) = 0;

  /// Numbered events appended so far.
  virtual uint64_t events() const = 0;
  /// Writes the rest, the index and the end, and truncates the file to its contents. Once.
  virtual Status finish(const End& end) = 0;
};

}  // namespace dejavm::trace
