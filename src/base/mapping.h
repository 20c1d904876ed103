// An owned memory mapping.
#pragma once

#include <cstdint>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"

namespace dejavm {

/// Owns an mmap()ed range; unmapped on destruction. Move-only.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  /// Zeroed memory that is shared with forked children; pages are allocated when touched.
  static Result<Mapping> anonymous(uint64_t size);
  /// Maps [offset, offset+size) of a file, shared; offset is a multiple of the page size.
  static Result<Mapping> file(int fd, uint64_t offset, uint64_t size, bool writable, std::string_view name);

  uint8_t* data() const { return data_; }
  uint64_t size() const { return size_; }
  MutableByteSpan bytes() const { return {data_, size_}; }

 private:
  Mapping(uint8_t* data, uint64_t size) : data_(data), size_(size) {}

  uint8_t* data_ = nullptr;
  uint64_t size_ = 0;
};

}  // namespace dejavm
