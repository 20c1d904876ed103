// A disk that fills up is an error from append(), never a signal, and what was appended stays.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "samples.h"

namespace dejavm::trace {
namespace {

constexpr uint64_t kDiskBytes = 2 << 20;
constexpr WriterOptions kSmall = {.chunk_events = 65536, .chunk_ms = 1000, .zstd_level = 3, .journal_bytes = 128 << 10};
constexpr int kSkipped = 77;

/// Accesses that do not compress, so that the file grows.
Event noisy(uint64_t i) {
  return {AccessEvent{{.size = 8, .addr = i * 0x9e3779b97f4a7c15u, .value = i * 0xbf58476d1ce4e5b9u}, false, {}}, 0};
}

/// Appends until the disk is full; returns 0 if the error and the file are as they should be.
int fill_disk(const std::string& path) {
  auto writer = Writer::create(path, sample_description(), sample_memory(), kSmall);
  if (!writer) return 10;
  uint64_t appended = 0;
  Status status;
  while (appended < 10000000) {
    status = (*writer)->append(noisy(appended));
    if (!status) break;
    ++appended;
  }
  if (status || status.error().what.find(path) == std::string::npos || status.error().next.empty()) return 11;
  if ((*writer)->append(noisy(0))) return 12;  // sticky
  if ((*writer)->finish(sample_end(appended))) return 13;
  writer->reset();
  auto reader = Reader::open(path);
  if (!reader || (*reader)->sealed()) return 14;
  if ((*reader)->event_count() != appended || appended == 0) return 15;
  return (*reader)->verify() ? 0 : 16;
}

/// Runs `body` in a child; its return value is the exit status.
template <typename Body>
int in_child(Body body) {
  pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "killed by signal " << WTERMSIG(status);
  return WEXITSTATUS(status);
}

TEST(DiskFull, ASizeLimitIsAnErrorFromAppend) {
  TempPath temp;
  int status = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{kDiskBytes, kDiskBytes};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    return fill_disk(temp.file());
  });
  EXPECT_EQ(status, 0);
}

TEST(DiskFull, AFullFileSystemIsAnErrorFromAppend) {
  TempPath temp;
  int status = in_child([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return kSkipped;
    std::string size = fmt::format("size={}", kDiskBytes);
    if (::mount("dejavm-test", temp.folder().c_str(), "tmpfs", 0, size.c_str()) != 0) return kSkipped;
    return fill_disk(temp.file());
  });
  if (status == kSkipped) GTEST_SKIP() << "SKIPPED: mounting a small tmpfs needs root";
  EXPECT_EQ(status, 0);
}

TEST(DiskFull, ADiskWithoutRoomForTheHeadIsAnErrorFromCreate) {
  int status = in_child([] {
    TempPath temp;
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{8192, 8192};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    return Writer::create(temp.file(), sample_description(), sample_memory(), kSmall) ? 2 : 0;
  });
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace dejavm::trace
