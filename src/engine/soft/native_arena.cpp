#include "engine/soft/native_arena.h"

#include <bit>
#include <cstring>

#include "base/check.h"

namespace dejavm::soft {
namespace {

constexpr size_t kAlignment = 16;
constexpr uint8_t kBreakpointOpcode = 0xcc;  // fills what is free, so that a stray call stops at once

}  // namespace

Result<std::unique_ptr<NativeArena>> NativeArena::create(size_t capacity, ExecutablePool* pool) {
  TRY_ASSIGN(ExecutableMemory memory, ExecutableMemory::create(capacity, pool));
  return std::unique_ptr<NativeArena>(new NativeArena(std::move(memory)));
}

NativeCode NativeArena::add(std::span<const uint8_t> code) {
  auto [entry, is_new] = stubs_.try_emplace(std::string(code.begin(), code.end()), nullptr);
  if (is_new) {
    size_t size = (code.size() + kAlignment - 1) / kAlignment * kAlignment;
    CHECK(has_room(size));
    std::memset(memory_.writable() + used_, kBreakpointOpcode, size);
    std::memcpy(memory_.writable() + used_, code.data(), code.size());
    entry->second = std::bit_cast<NativeCode>(memory_.executable() + used_);
    used_ += size;
  }
  return entry->second;
}

void NativeArena::clear() {
  stubs_.clear();
  used_ = 0;
}

}  // namespace dejavm::soft
