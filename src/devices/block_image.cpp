#include "devices/block_image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/check.h"
#include "base/temporary.h"

namespace dejavm::devices {
namespace {

constexpr uint64_t kSector = 512;

/// The whole range; what lies behind the end of the file reads as zeros.
bool read_fully(int fd, uint64_t offset, MutableByteSpan to) {
  while (!to.empty()) {
    ssize_t got = ::pread(fd, to.data(), to.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return false;
    if (got == 0) {
      std::fill(to.begin(), to.end(), uint8_t{0});
      return true;
    }
    to = to.subspan(static_cast<size_t>(got));
    offset += static_cast<uint64_t>(got);
  }
  return true;
}

/// The size in bytes of a regular file or a block device.
Result<uint64_t> size_of(const Fd& file, const std::string& path) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return fail_errno(fmt::format("-drive file={}", path));
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
    return fail_usage(fmt::format("-drive file={}: neither a file nor a block device", path), "Name a raw disk image.");
  }
  off_t end = ::lseek(file.get(), 0, SEEK_END);
  if (end < 0) return fail_errno(fmt::format("-drive file={}", path));
  if (end == 0) {
    return fail_usage(fmt::format("-drive file={}: the image is empty", path), "Make one with `truncate -s 64M FILE`.");
  }
  return static_cast<uint64_t>(end);
}

/// A file without a name.
Result<Fd> temporary_file(std::string directory) {
  if (directory.empty()) directory = temporary_files("/var/tmp");
  std::string path = directory + "/dejavm-snapshot.XXXXXX";
  Fd file(::mkostemp(path.data(), O_CLOEXEC));
  if (!file) {
    return fail_errno(fmt::format("cannot make a file in {} for what the guest writes to its disk", directory),
                      "Set TMPDIR to a directory with room, or use snapshot=off or readonly=on.");
  }
  ::unlink(path.c_str());
  return file;
}

}  // namespace

Result<std::unique_ptr<BlockStore>> BlockImage::open(const Options& options) {
  bool writes = !options.read_only && !options.snapshot;
  // Without O_NONBLOCK a pipe would wait for its other end.
  auto image = open_file(options.path, (writes ? O_RDWR : O_RDONLY) | O_NONBLOCK);
  if (!image) {
    return fail_usage(fmt::format("-drive file={}: {}", options.path, image.error().what),
                      writes ? "snapshot=off wants to write to the image." : "Name a raw disk image.");
  }
  TRY_ASSIGN(uint64_t size, size_of(*image, options.path));
  Fd overlay;
  if (!options.read_only && options.snapshot) {
    TRY_ASSIGN(overlay, temporary_file(options.temporary_directory));
  }
  return std::unique_ptr<BlockStore>(
      new BlockImage(std::move(*image), std::move(overlay), (size + kSector - 1) / kSector * kSector, options.read_only));
}

BlockImage::BlockImage(Fd image, Fd overlay, uint64_t size, bool read_only)
    : image_(std::move(image)),
      overlay_(std::move(overlay)),
      overlaid_(overlay_ ? (size + kBlock - 1) / kBlock : 0),
      size_(size),
      read_only_(read_only) {}

bool BlockImage::read(uint64_t offset, MutableByteSpan to) {
  CHECK(offset <= size_ && to.size() <= size_ - offset);
  if (!overlay_) return read_fully(image_.get(), offset, to);
  while (!to.empty()) {
    // As far as the bytes come from the same file.
    bool overlaid = overlaid_[offset / kBlock];
    uint64_t end = offset / kBlock * kBlock + kBlock;
    while (end < offset + to.size() && overlaid_[end / kBlock] == overlaid) end += kBlock;
    size_t part = std::min<uint64_t>(end - offset, to.size());
    if (!read_fully(overlaid ? overlay_.get() : image_.get(), offset, to.first(part))) return false;
    to = to.subspan(part);
    offset += part;
  }
  return true;
}

/// Copies the block that holds `offset` to the overlay, unless it is there.
bool BlockImage::fill_edge(uint64_t offset) {
  if (offset % kBlock == 0 || offset >= size_ || overlaid_[offset / kBlock]) return true;
  uint8_t block[kBlock];
  uint64_t start = offset / kBlock * kBlock;
  MutableByteSpan bytes(block, std::min<uint64_t>(kBlock, size_ - start));
  if (!read_fully(image_.get(), start, bytes) || !pwrite_all(overlay_.get(), bytes, start, "snapshot")) return false;
  overlaid_[offset / kBlock] = true;
  return true;
}

bool BlockImage::own_edges(uint64_t offset, uint64_t size) { return fill_edge(offset) && fill_edge(offset + size); }

void BlockImage::mark(uint64_t offset, uint64_t size) {
  for (uint64_t block = offset / kBlock; block * kBlock < offset + size; ++block) overlaid_[block] = true;
}

bool BlockImage::write(uint64_t offset, ByteSpan from) {
  CHECK(!read_only_ && offset <= size_ && from.size() <= size_ - offset);
  if (from.empty()) return true;
  if (!overlay_) return pwrite_all(image_.get(), from, offset, "image").has_value();
  if (!own_edges(offset, from.size()) || !pwrite_all(overlay_.get(), from, offset, "snapshot")) return false;
  mark(offset, from.size());
  return true;
}

bool BlockImage::write_zeroes(uint64_t offset, uint64_t size) {
  CHECK(!read_only_ && offset <= size_ && size <= size_ - offset);
  if (size == 0) return true;
  if (overlay_ && !own_edges(offset, size)) return false;
  int fd = overlay_ ? overlay_.get() : image_.get();
  // A hole reads as zeros and takes no room.
  bool hole =
      ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(size)) == 0;
  if (hole) {
    if (overlay_) mark(offset, size);
    return true;
  }
  const Bytes zeros(std::min<uint64_t>(size, uint64_t{1} << 20));
  for (uint64_t done = 0; done < size;) {
    uint64_t part = std::min<uint64_t>(zeros.size(), size - done);
    if (!write(offset + done, ByteSpan(zeros).first(part))) return false;
    done += part;
  }
  return true;
}

bool BlockImage::flush() {
  // An overlay is gone with the process: nothing has to last.
  return overlay_ || read_only_ || ::fdatasync(image_.get()) == 0;
}

}  // namespace dejavm::devices
