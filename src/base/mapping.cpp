#include "base/mapping.h"

#include <sys/mman.h>

namespace dejavm {

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    if (data_ != nullptr) ::munmap(data_, size_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Result<Mapping> Mapping::anonymous(uint64_t size) {
  void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return fail_errno(fmt::format("cannot allocate {} bytes", size));
  return Mapping(static_cast<uint8_t*>(data), size);
}

Result<Mapping> Mapping::file(int fd, uint64_t offset, uint64_t size, bool writable, std::string_view name) {
  int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void* data = ::mmap(nullptr, size, protection, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (data == MAP_FAILED) return fail_errno(fmt::format("cannot map {} bytes of {}", size, name));
  return Mapping(static_cast<uint8_t*>(data), size);
}

}  // namespace dejavm
