// A file that came from outside: every read of it is checked.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace dejavm::loader {

/// Borrows the bytes of a kernel image. Errors name the file, what was read and what to do.
class Image {
 public:
  Image(std::string name, ByteSpan bytes) : name_(std::move(name)), bytes_(bytes) {}

  const std::string& name() const { return name_; }
  ByteSpan bytes() const { return bytes_; }
  uint64_t size() const { return bytes_.size(); }

  /// The bytes [offset, offset + size), or an error that `what` lies outside the file.
  Result<ByteSpan> range(uint64_t offset, uint64_t size, std::string_view what) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset) {
      return bad(
          fmt::format("{} ({} bytes at {:#x}) lies outside the file, which has {} bytes", what, size, offset, bytes_.size()),
          "The file is cut off or damaged: build or fetch it again.");
    }
    return bytes_.subspan(offset, size);
  }

  /// A little-endian field.
  template <typename T>
  Result<T> field(uint64_t offset, std::string_view what) const {
    TRY_ASSIGN(ByteSpan at, range(offset, sizeof(T), what));
    return load_le<T>(at.data());
  }

  /// A field that may lie behind the end of the file: 0 there.
  template <typename T>
  T field_or_zero(uint64_t offset) const {
    return field<T>(offset, "").value_or(T{0});
  }

  /// "NAME: WHAT"
  tl::unexpected<Error> bad(const std::string& what, std::string next) const {
    return fail(fmt::format("{}: {}", name_, what), std::move(next));
  }

 private:
  std::string name_;
  ByteSpan bytes_;
};

}  // namespace dejavm::loader
