#include "engine/soft/executable_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <utility>

#include "base/fd.h"
#include "engine/soft/executable_pool.h"

namespace dejavm::soft {
namespace {

uint8_t* map(int fd, size_t size, int protection) {
  void* at = mmap(nullptr, size, protection, MAP_SHARED, fd, 0);
  return at == MAP_FAILED ? nullptr : static_cast<uint8_t*>(at);
}

}  // namespace

Result<ExecutableMemory> ExecutableMemory::create(size_t size, ExecutablePool* pool) {
  if (pool != nullptr) return pool->lend(size);
  Fd fd(memfd_create("dejavm-code", MFD_CLOEXEC));
  if (!fd || ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
    return fail_errno("the soft engine cannot get memory for generated code",
                      "see ulimit -f, ulimit -v and the container's memory limit");
  }
  uint8_t* writable = map(fd.get(), size, PROT_READ | PROT_WRITE);
  if (writable == nullptr) return fail_errno("the soft engine cannot map memory for generated code");
  uint8_t* executable = map(fd.get(), size, PROT_READ | PROT_EXEC);
  if (executable == nullptr) {
    auto error = fail_errno("the soft engine cannot map memory as executable",
                            "allow executable mappings of memfds (SELinux execmem, or a noexec policy)");
    munmap(writable, size);
    return error;
  }
  return ExecutableMemory(writable, executable, size);
}

ExecutableMemory::ExecutableMemory(ExecutableMemory&& other) noexcept
    : writable_(std::exchange(other.writable_, nullptr)),
      executable_(std::exchange(other.executable_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      home_(std::exchange(other.home_, nullptr)) {}

ExecutableMemory& ExecutableMemory::operator=(ExecutableMemory&& other) noexcept {
  std::swap(writable_, other.writable_);
  std::swap(executable_, other.executable_);
  std::swap(size_, other.size_);
  std::swap(home_, other.home_);
  return *this;
}

ExecutableMemory::~ExecutableMemory() {
  if (writable_ == nullptr) return;
  if (home_ != nullptr) {
    ExecutablePool* home = std::exchange(home_, nullptr);
    home->take_back(std::move(*this));
    return;
  }
  munmap(writable_, size_);
  munmap(executable_, size_);
}

}  // namespace dejavm::soft
