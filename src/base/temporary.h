// Files and directories that go away by themselves.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace dejavm {

/// Where temporary files belong: $TMPDIR (POSIX.1-2017, Environment Variables), else `usual`.
std::string temporary_files(std::string_view usual = "/tmp");

/// A fresh directory that only its owner may enter; removed with all that is in it.
class TemporaryDirectory {
 public:
  /// Its name starts with `stem`; no slash in it.
  static Result<TemporaryDirectory> create(std::string_view stem);
  TemporaryDirectory(TemporaryDirectory&& other) noexcept;
  TemporaryDirectory& operator=(TemporaryDirectory&&) = delete;
  ~TemporaryDirectory();

  const std::string& path() const { return path_; }
  std::string file(std::string_view name) const;
  /// Leaves it where it is.
  void keep() { kept_ = true; }

 private:
  explicit TemporaryDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;  // empty: moved from
  bool kept_ = false;
};

}  // namespace dejavm
