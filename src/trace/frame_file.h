// The file that a writer appends frames to.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/mapping.h"
#include "base/result.h"
#include "trace/frame.h"

namespace dejavm::trace {

/// Appends frames at the tail and keeps the disk blocks below `reserved_end` allocated, so that neither a frame nor a store
/// to a mapping of that part can meet a full disk. append() and tail() from any thread, one append at a time; the rest from
/// the thread that owns the writer.
class FrameFile {
 public:
  /// Creates or empties the file and writes the file header.
  static Result<std::unique_ptr<FrameFile>> create(const std::string& path);

  const std::string& path() const { return path_; }
  int fd() const { return fd_.get(); }
  uint64_t tail() const;

  /// Allocates blocks up to `end`; the error of a full disk names the path.
  Status reserve(uint64_t end);
  /// Writes a frame at the tail. Offset, sequence, length and hash are filled in here.
  Status append(Frame frame, ByteSpan stored);
  /// Every frame so far.
  const std::vector<Frame>& frames() const { return frames_; }
  /// Names or removes (offset 0) a live journal in the file header.
  void set_journal(unsigned entry, uint64_t offset, uint64_t size);
  /// Cuts the file behind the last frame.
  Status truncate();

 private:
  FrameFile(std::string path, Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  tl::unexpected<Error> cannot_write(int error) const;
  Status write_zeros(uint64_t begin, uint64_t end);

  const std::string path_;
  Fd fd_;
  Mapping header_;
  mutable std::mutex mutex_;  // guards tail_ and frames_
  uint64_t tail_ = kFileHeaderBytes;
  std::vector<Frame> frames_;
  uint64_t reserved_end_ = 0;
};

}  // namespace dejavm::trace
