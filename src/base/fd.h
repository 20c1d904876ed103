// An owned file descriptor, whole-file reads, complete writes.
#pragma once

#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"

namespace dejavm {

/// Owns a file descriptor; -1 is none. Move-only.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd();

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void close();

 private:
  int fd_ = -1;
};

/// Opens a file (close-on-exec); the error names the path.
Result<Fd> open_file(const std::string& path, int flags, unsigned mode = 0644);

/// Reads a whole regular file of at most `limit` bytes; larger files are refused before anything is allocated.
Result<Bytes> read_file(const std::string& path, uint64_t limit);

/// Writes all bytes at the descriptor's position; retries on EINTR and short writes.
Status write_all(int fd, ByteSpan bytes, std::string_view name);

/// Writes all bytes at `offset`.
Status pwrite_all(int fd, ByteSpan bytes, uint64_t offset, std::string_view name);

}  // namespace dejavm
