#include "trace/frame_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/check.h"
#include "vm/address.h"

namespace dejavm::trace {

Result<std::unique_ptr<FrameFile>> FrameFile::create(const std::string& path) {
  // An existing trace is replaced, not emptied: somebody may have it open for a replay.
  struct stat existing {};
  if (::lstat(path.c_str(), &existing) == 0 && S_ISREG(existing.st_mode)) ::unlink(path.c_str());
  TRY_ASSIGN(Fd fd, open_file(path, O_RDWR | O_CREAT | O_TRUNC));
  std::unique_ptr<FrameFile> file(new FrameFile(path, std::move(fd)));
  TRY(file->reserve(vm::kPageSize));
  TRY(pwrite_all(file->fd(), file_header(), 0, path));
  auto header = Mapping::file(file->fd(), 0, vm::kPageSize, true, path);
  if (!header) {
    return fail(
        header.error().what,
        "The file system there (9p, some network ones) cannot share a mapping: record to a local disk, then move the file.");
  }
  file->header_ = std::move(*header);
  return file;
}

uint64_t FrameFile::tail() const {
  std::lock_guard lock(mutex_);
  return tail_;
}

tl::unexpected<Error> FrameFile::cannot_write(int error) const {
  return fail(fmt::format("cannot write {}: {}", path_, std::strerror(error)),
              "Free some space there, or record to another file system; what was recorded until now is kept.");
}

Status FrameFile::reserve(uint64_t end) {
  if (end <= reserved_end_) return {};
  int rc = 0;
  do {
    rc = ::fallocate(fd(), 0, static_cast<off_t>(reserved_end_), static_cast<off_t>(end - reserved_end_));
  } while (rc != 0 && errno == EINTR);
  if (rc != 0 && errno != EOPNOTSUPP && errno != ENOSYS) return cannot_write(errno);
  if (rc != 0) TRY(write_zeros(reserved_end_, end));
  reserved_end_ = end;
  return {};
}

Status FrameFile::write_zeros(uint64_t begin, uint64_t end) {
  const Bytes zeros(uint64_t{1} << 20);
  for (uint64_t at = begin; at < end; at += zeros.size()) {
    auto written = pwrite_all(fd(), ByteSpan(zeros).first(std::min<uint64_t>(zeros.size(), end - at)), at, path_);
    if (!written) return cannot_write(errno);
  }
  return {};
}

Status FrameFile::append(Frame frame, ByteSpan stored) {
  frame.offset = tail();
  frame.stored_length = stored.size();
  frame.sequence = frames_.size();
  frame.payload_hash = payload_hash(stored);
  // One write, so that a kill leaves a whole frame or one that its checksum shows to be cut off.
  std::array<uint8_t, kFrameHeaderBytes> header = frame_header(frame);
  Bytes bytes(header.begin(), header.end());
  bytes.insert(bytes.end(), stored.begin(), stored.end());
  TRY(pwrite_all(fd(), bytes, frame.offset, path_));
  std::lock_guard lock(mutex_);
  frames_.push_back(frame);
  tail_ = frame.end();
  return {};
}

void FrameFile::set_journal(unsigned entry, uint64_t offset, uint64_t size) {
  CHECK(entry < kJournalEntries);
  // A reader after a SIGKILL sees the stores in this order: an entry with an offset has its size.
  auto* fields = reinterpret_cast<uint64_t*>(header_.data() + kJournalTableAt + entry * kJournalEntryBytes);
  std::atomic_ref<uint64_t>(fields[0]).store(0, std::memory_order_release);
  std::atomic_ref<uint64_t>(fields[1]).store(offset == 0 ? 0 : size, std::memory_order_release);
  std::atomic_ref<uint64_t>(fields[0]).store(offset, std::memory_order_release);
}

Status FrameFile::truncate() {
  if (::ftruncate(fd(), static_cast<off_t>(tail())) != 0) return cannot_write(errno);
  return {};
}

}  // namespace dejavm::trace
