// What a disk's sectors are kept in: an image file, by default behind an overlay that takes the writes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/result.h"

namespace dejavm::devices {

/// The bytes of a disk. Ranges lie inside [0, size()); false is an error of the host's file, after which a write may have
/// happened in part.
class BlockStore {
 public:
  virtual ~BlockStore() = default;
  /// A positive multiple of 512.
  virtual uint64_t size() const = 0;
  virtual bool read_only() const = 0;
  virtual bool read(uint64_t offset, MutableByteSpan to) = 0;
  virtual bool write(uint64_t offset, ByteSpan from) = 0;
  virtual bool write_zeroes(uint64_t offset, uint64_t size) = 0;
  virtual bool flush() = 0;
};

/// A raw image: a regular file or a block device. The last sector of a file that is no multiple of 512 is filled up with
/// zeros. With a snapshot, writes go to a temporary file that has no name, which the host frees with the process; it takes
/// no more room than the guest wrote, and never more than the image.
class BlockImage final : public BlockStore {
 public:
  struct Options {
    std::string path;
    bool read_only = false;
    bool snapshot = true;
    /// Where the temporary file is made; empty: $TMPDIR, else /var/tmp.
    std::string temporary_directory;
  };

  static Result<std::unique_ptr<BlockStore>> open(const Options& options);

  uint64_t size() const override { return size_; }
  bool read_only() const override { return read_only_; }
  bool read(uint64_t offset, MutableByteSpan to) override;
  bool write(uint64_t offset, ByteSpan from) override;
  bool write_zeroes(uint64_t offset, uint64_t size) override;
  bool flush() override;

 private:
  static constexpr uint64_t kBlock = 4096;  // of the overlay

  BlockImage(Fd image, Fd overlay, uint64_t size, bool read_only);

  bool fill_edge(uint64_t offset);
  bool own_edges(uint64_t offset, uint64_t size);
  void mark(uint64_t offset, uint64_t size);

  Fd image_;
  Fd overlay_;                  // none: writes go to the image
  std::vector<bool> overlaid_;  // by block of the overlay: it is there
  uint64_t size_;
  bool read_only_;
};

}  // namespace dejavm::devices
