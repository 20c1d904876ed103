#include "base/fd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace dejavm {

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

Fd::~Fd() { close(); }

void Fd::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Result<Fd> open_file(const std::string& path, int flags, unsigned mode) {
  Fd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd) return fail_errno(fmt::format("cannot open {}", path));
  return fd;
}

Result<Bytes> read_file(const std::string& path, uint64_t limit) {
  TRY_ASSIGN(Fd fd, open_file(path, O_RDONLY));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return fail_errno(fmt::format("cannot read {}", path));
  if (!S_ISREG(info.st_mode)) return fail(fmt::format("cannot read {}: not a regular file", path));
  auto size = static_cast<uint64_t>(info.st_size);
  if (size > limit) return fail(fmt::format("{} has {} bytes; at most {} are accepted here", path, size, limit));
  Bytes bytes(size);
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t got = ::read(fd.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(fmt::format("cannot read {}", path));
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

namespace {

/// Calls `write_some(from, offset_done)` until all bytes are out.
template <typename WriteSome>
Status write_until_done(ByteSpan bytes, std::string_view name, WriteSome write_some) {
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t put = write_some(bytes.subspan(done), done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail_errno(fmt::format("cannot write {}", name));
    done += static_cast<size_t>(put);
  }
  return {};
}

}  // namespace

Status write_all(int fd, ByteSpan bytes, std::string_view name) {
  return write_until_done(bytes, name, [&](ByteSpan rest, size_t) { return ::write(fd, rest.data(), rest.size()); });
}

Status pwrite_all(int fd, ByteSpan bytes, uint64_t offset, std::string_view name) {
  return write_until_done(bytes, name, [&](ByteSpan rest, size_t done) {
    return ::pwrite(fd, rest.data(), rest.size(), static_cast<off_t>(offset + done));
  });
}

}  // namespace dejavm
