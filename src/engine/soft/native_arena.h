// Memory for generated stubs.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>

#include "base/result.h"
#include "engine/soft/executable_memory.h"
#include "engine/soft/native_code.h"

namespace dejavm::soft {

/// Bounded. Equal stubs are kept once. One thread.
class NativeArena {
 public:
  /// `capacity`: bytes, a multiple of the page size. `pool`: where the memory comes from, if not from the host.
  static Result<std::unique_ptr<NativeArena>> create(size_t capacity, ExecutablePool* pool = nullptr);
  NativeArena(const NativeArena&) = delete;
  NativeArena& operator=(const NativeArena&) = delete;

  bool has_room(size_t bytes) const { return memory_.size() - used_ >= bytes; }
  /// The stub with this machine code, which must be position-independent. The caller has made sure that there is room.
  NativeCode add(std::span<const uint8_t> code);
  /// Forgets all stubs; none of them may be called any more.
  void clear();

 private:
  explicit NativeArena(ExecutableMemory memory) : memory_(std::move(memory)) {}

  ExecutableMemory memory_;
  size_t used_ = 0;
  std::unordered_map<std::string, NativeCode> stubs_;  // by their bytes
};

}  // namespace dejavm::soft
