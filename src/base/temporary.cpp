#include "base/temporary.h"

#include <cstdlib>
#include <filesystem>
#include <utility>

namespace dejavm {

std::string temporary_files(std::string_view usual) {
  const char* chosen = std::getenv("TMPDIR");
  return chosen != nullptr && *chosen != '\0' ? std::string(chosen) : std::string(usual);
}

Result<TemporaryDirectory> TemporaryDirectory::create(std::string_view stem) {
  std::string path = fmt::format("{}/{}-XXXXXX", temporary_files(), stem);
  if (::mkdtemp(path.data()) == nullptr) {
    return fail_errno(fmt::format("cannot make the directory {}", path), "Set TMPDIR to a directory with room.");
  }
  return TemporaryDirectory(std::move(path));
}

TemporaryDirectory::TemporaryDirectory(TemporaryDirectory&& other) noexcept
    : path_(std::exchange(other.path_, {})), kept_(other.kept_) {}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  if (!path_.empty() && !kept_) std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryDirectory::file(std::string_view name) const { return fmt::format("{}/{}", path_, name); }

}  // namespace dejavm
