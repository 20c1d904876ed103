// The thread that turns full journals into chunk frames.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "trace/chunk_codec.h"
#include "trace/frame_file.h"
#include "trace/journal.h"

namespace dejavm::trace {

/// Encodes and writes one journal at a time, in the order given. The journal is retired (its entry in the file header
/// cleared) only after its frame is in the file. An error is sticky: the journal in hand stays live, later ones are not
/// taken. Borrows the file; one caller thread.
class ChunkThread {
 public:
  ChunkThread(FrameFile& file, bool has_time, int zstd_level);
  /// Finishes the journal in hand.
  ~ChunkThread();

  /// Waits until no journal is in hand; then the caller may append frames itself. Returns the first error.
  Status wait_idle();
  /// Hands a journal with at least one record over; call when idle. `retire`: clear its entry afterwards.
  void submit(std::unique_ptr<Journal> journal, bool retire);
  /// Encodes a log as the next chunk frame on the caller's thread; call when idle.
  Status write_chunk(std::span<const uint64_t> log, uint64_t sequence, uint64_t first_event);

 private:
  void run();

  FrameFile& file_;
  ChunkEncoder encoder_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::unique_ptr<Journal> journal_;
  bool retire_ = true;
  bool stop_ = false;
  Status status_;
  std::thread thread_;
};

}  // namespace dejavm::trace
