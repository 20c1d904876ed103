// The bytes of a trace as a reader gets at them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace dejavm::trace {

/// A trace file, or bytes in memory. A file is read and never mapped: its recorder may cut it, and a disk may fail, while it
/// is open here, which is an error of read() and would be a SIGBUS of a mapping.
class Storage {
 public:
  /// Opens a regular file.
  static Result<std::unique_ptr<Storage>> open(const std::string& path);
  /// Borrows bytes.
  static std::unique_ptr<Storage> borrow(ByteSpan bytes);
  virtual ~Storage() = default;

  /// As it was when it was opened: what a recorder appends later is not seen.
  virtual uint64_t size() const = 0;
  /// Fills `to` with the bytes from `offset` on. Fails ("cut off") where they are not there, or not any more.
  virtual Status read(uint64_t offset, MutableByteSpan to) const = 0;

  /// The XXH3 hash of [offset, offset + length), read piece by piece.
  Result<uint64_t> hash(uint64_t offset, uint64_t length) const;

 protected:
  bool holds(uint64_t offset, uint64_t length) const { return offset <= size() && length <= size() - offset; }
};

}  // namespace dejavm::trace
