// Executable memory that outlives the vCPUs which use it: a process that has given up the right to make any (the sandbox of
// a replay) goes on with what it has.
#pragma once

#include <vector>

#include "engine/soft/executable_memory.h"

namespace dejavm::soft {

/// Lends memory and gets it back when the ExecutableMemory is destroyed; outlives all that it lends. One thread.
class ExecutablePool {
 public:
  ExecutablePool() = default;
  ExecutablePool(const ExecutablePool&) = delete;
  ExecutablePool& operator=(const ExecutablePool&) = delete;

  /// Memory of that size that came back, else new memory.
  Result<ExecutableMemory> lend(size_t size);
  /// How much is here, to be lent again.
  size_t idle() const { return idle_.size(); }

 private:
  friend class ExecutableMemory;
  void take_back(ExecutableMemory memory);

  std::vector<ExecutableMemory> idle_;
};

}  // namespace dejavm::soft
