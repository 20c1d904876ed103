#include "base/mapping.h"

#include <sys/mman.h>

#include "base/check.h"

namespace dejavm {
namespace {

// Around each mapping: an access that misses it ends the process instead of reaching something else.
constexpr uint64_t kGuard = uint64_t{64} << 10;
constexpr uint64_t kHostPage = 4096;

uint64_t with_guards(uint64_t size) { return (size + kHostPage - 1) / kHostPage * kHostPage + 2 * kGuard; }

void unmap(uint8_t* data, uint64_t size) {
  if (data != nullptr) CHECK(::munmap(data - kGuard, with_guards(size)) == 0);
}

/// Null, and errno, on failure.
uint8_t* map_between_guards(uint64_t size, int protection, int flags, int fd, off_t offset) {
  constexpr int kReserve = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* reserved = size == 0 ? nullptr : ::mmap(nullptr, with_guards(size), PROT_NONE, kReserve, -1, 0);
  if (size == 0) errno = EINVAL;
  if (reserved == nullptr || reserved == MAP_FAILED) return nullptr;
  uint8_t* data = static_cast<uint8_t*>(reserved) + kGuard;
  if (::mmap(data, size, protection, flags | MAP_FIXED, fd, offset) != MAP_FAILED) return data;
  int error = errno;
  unmap(data, size);
  errno = error;
  return nullptr;
}

}  // namespace

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    unmap(data_, size_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Mapping::~Mapping() { unmap(data_, size_); }

Result<Mapping> Mapping::anonymous(uint64_t size) {
  constexpr int kFlags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE;
  uint8_t* data = map_between_guards(size, PROT_READ | PROT_WRITE, kFlags, -1, 0);
  if (data == nullptr) return fail_errno(fmt::format("cannot allocate {} bytes", size));
  return Mapping(data, size);
}

Result<Mapping> Mapping::file(int fd, uint64_t offset, uint64_t size, bool writable, std::string_view name) {
  int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  uint8_t* data = map_between_guards(size, protection, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (data == nullptr) return fail_errno(fmt::format("cannot map {} bytes of {}", size, name));
  return Mapping(data, size);
}

}  // namespace dejavm
