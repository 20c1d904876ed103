// Memory for generated code, mapped twice: written at one address, executed at another, so that no address is ever writable
// and executable.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace dejavm::soft {

class ExecutablePool;

/// Owns both mappings, or has them from a pool (executable_pool.h), which gets them back. Moving keeps the addresses.
class ExecutableMemory {
 public:
  /// `size`: bytes, a multiple of the page size. Pages are allocated when they are first written. `pool`, where given, lends
  /// it.
  static Result<ExecutableMemory> create(size_t size, ExecutablePool* pool = nullptr);
  ExecutableMemory(ExecutableMemory&& other) noexcept;
  ExecutableMemory& operator=(ExecutableMemory&& other) noexcept;
  ~ExecutableMemory();

  uint8_t* writable() const { return writable_; }
  const uint8_t* executable() const { return executable_; }
  size_t size() const { return size_; }

 private:
  ExecutableMemory(uint8_t* writable, uint8_t* executable, size_t size)
      : writable_(writable), executable_(executable), size_(size) {}

  uint8_t* writable_;
  uint8_t* executable_;
  size_t size_;
  ExecutablePool* home_ = nullptr;

  friend class ExecutablePool;
};

}  // namespace dejavm::soft
