#include "engine/soft/executable_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <utility>

namespace dejavm::soft {

Result<ExecutableMemory> ExecutablePool::lend(size_t size) {
  auto found = std::ranges::find(idle_, size, &ExecutableMemory::size);
  if (found == idle_.end()) {
    TRY_ASSIGN(ExecutableMemory fresh, ExecutableMemory::create(size));
    fresh.home_ = this;
    return fresh;
  }
  ExecutableMemory memory = std::move(*found);
  idle_.erase(found);
  memory.home_ = this;
  return memory;
}

void ExecutablePool::take_back(ExecutableMemory memory) {
  // The code is of no use to anybody, and its pages are given back. Where that fails they are merely kept.
  static_cast<void>(madvise(memory.writable(), memory.size(), MADV_REMOVE));
  idle_.push_back(std::move(memory));
}

}  // namespace dejavm::soft
