#include "trace/storage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>

#include "base/check.h"
#include "base/fd.h"

namespace dejavm::trace {
namespace {

constexpr uint64_t kPieceBytes = uint64_t{256} << 10;

class FileStorage final : public Storage {
 public:
  FileStorage(Fd fd, uint64_t size) : fd_(std::move(fd)), size_(size) {}

  uint64_t size() const override { return size_; }
  Status read(uint64_t offset, MutableByteSpan to) const override {
    if (!holds(offset, to.size())) return fail_damaged("cut off");
    while (!to.empty()) {
      ssize_t got = ::pread(fd_.get(), to.data(), to.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail_errno(fmt::format("cannot read at byte {}", offset));
      if (got == 0) return fail_damaged("cut off: the file became shorter while it was open");
      offset += static_cast<uint64_t>(got);
      to = to.subspan(static_cast<size_t>(got));
    }
    return {};
  }

 private:
  Fd fd_;
  uint64_t size_;
};

class MemoryStorage final : public Storage {
 public:
  explicit MemoryStorage(ByteSpan bytes) : bytes_(bytes) {}

  uint64_t size() const override { return bytes_.size(); }
  Status read(uint64_t offset, MutableByteSpan to) const override {
    if (!holds(offset, to.size())) return fail_damaged("cut off");
    std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), to.size(), to.begin());
    return {};
  }

 private:
  ByteSpan bytes_;
};

}  // namespace

Result<std::unique_ptr<Storage>> Storage::open(const std::string& path) {
  TRY_ASSIGN(Fd fd, open_file(path, O_RDONLY));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return fail_errno(fmt::format("cannot read {}", path));
  if (!S_ISREG(info.st_mode)) return fail(fmt::format("cannot read {}: not a regular file", path));
  return std::make_unique<FileStorage>(std::move(fd), static_cast<uint64_t>(info.st_size));
}

std::unique_ptr<Storage> Storage::borrow(ByteSpan bytes) { return std::make_unique<MemoryStorage>(bytes); }

Result<uint64_t> Storage::hash(uint64_t offset, uint64_t length) const {
  if (!holds(offset, length)) return fail_damaged("cut off");
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> state(XXH3_createState());
  CHECK(state != nullptr);
  XXH3_64bits_reset(state.get());
  Bytes piece(std::min(length, kPieceBytes));
  while (length > 0) {
    MutableByteSpan part = MutableByteSpan(piece).first(std::min<uint64_t>(length, piece.size()));
    TRY(read(offset, part));
    XXH3_64bits_update(state.get(), part.data(), part.size());
    offset += part.size();
    length -= part.size();
  }
  return XXH3_64bits_digest(state.get());
}

}  // namespace dejavm::trace
