// File descriptors, files and mappings.
#include "base/fd.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mapping.h"
#include "temp_folder.h"

namespace dejavm {
namespace {

using testing::HasSubstr;

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(Fd, ClosesWhatItOwnsOnce) {
  Fd first(::open("/dev/null", O_RDONLY)), second(::open("/dev/null", O_RDONLY));
  int kept = first.get(), replaced = second.get();

  second = std::move(first);

  EXPECT_FALSE(is_open(replaced));
  EXPECT_FALSE(static_cast<bool>(first));
  EXPECT_EQ(second.get(), kept);
  second.close();
  second.close();
  EXPECT_FALSE(is_open(kept));
}

TEST(Fd, OpenedFilesAreNotInheritedAndErrorsNameThePath) {
  TempFolder folder;
  Fd made = open_file(folder.file("new"), O_WRONLY | O_CREAT).value();
  auto missing = open_file(folder.file("missing"), O_RDONLY);

  EXPECT_NE(::fcntl(made.get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().what, "cannot open " + folder.file("missing") + ": No such file or directory");
}

TEST(ReadFile, GivesTheWholeFileUpToTheLimit) {
  TempFolder folder;
  Bytes bytes(5000, 7);
  ASSERT_TRUE(write_all(open_file(folder.file("f"), O_WRONLY | O_CREAT).value().get(), bytes, "f"));

  EXPECT_EQ(read_file(folder.file("f"), 5000).value(), bytes);
}

TEST(ReadFile, RefusesWhatIsTooLarge) {
  TempFolder folder;
  Fd file = open_file(folder.file("huge"), O_WRONLY | O_CREAT).value();
  ASSERT_EQ(::ftruncate(file.get(), off_t{1} << 40), 0);  // a hole: allocating this would be noticed

  auto result = read_file(folder.file("huge"), 4096);

  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().what, folder.file("huge") + " has 1099511627776 bytes; at most 4096 are accepted here");
}

TEST(ReadFile, RefusesWhatIsNoFile) {
  TempFolder folder;
  ASSERT_EQ(::mkfifo(folder.file("fifo").c_str(), 0600), 0);
  Fd keeps_fifo_open(::open(folder.file("fifo").c_str(), O_RDWR));

  EXPECT_THAT(read_file(folder.path(), 100).error().what, HasSubstr(folder.path() + ": not a regular file"));
  EXPECT_THAT(read_file(folder.file("fifo"), 100).error().what, HasSubstr("not a regular file"));
  EXPECT_FALSE(read_file(folder.file("missing"), 100));
}

TEST(WriteAll, NamesTheFileThatCannotTakeMore) {
  Fd full(::open("/dev/full", O_WRONLY));

  Status status = write_all(full.get(), Bytes{1}, "the trace");
  Status positioned = pwrite_all(-1, Bytes{1}, 0, "the index");

  EXPECT_EQ(status.error().what, "cannot write the trace: No space left on device");
  EXPECT_EQ(positioned.error().what, "cannot write the index: Bad file descriptor");
}

TEST(WriteAll, PwriteWritesAtItsOffset) {
  TempFolder folder;
  Fd file = open_file(folder.file("f"), O_RDWR | O_CREAT).value();

  ASSERT_TRUE(pwrite_all(file.get(), Bytes{1, 2}, 3, "f"));

  EXPECT_THAT(read_file(folder.file("f"), 100).value(), testing::ElementsAre(0, 0, 0, 1, 2));
}

TEST(MappingTest, AnonymousMemoryIsZero) {
  Mapping mapping = Mapping::anonymous(8192).value();

  EXPECT_EQ(mapping.size(), 8192u);
  EXPECT_EQ(mapping.data()[8191], 0);
}

TEST(MappingTest, AFileMappingWritesTheFile) {
  TempFolder folder;
  Fd file = open_file(folder.file("f"), O_RDWR | O_CREAT).value();
  ASSERT_EQ(::ftruncate(file.get(), 8192), 0);

  Mapping mapping = Mapping::file(file.get(), 4096, 4096, true, "f").value();
  mapping.data()[1] = 9;

  EXPECT_EQ(read_file(folder.file("f"), 8192).value()[4097], 9);
}

TEST(MappingTest, WhatCannotBeMappedIsAnErrorThatNamesIt) {
  EXPECT_THAT(Mapping::file(-1, 0, 4096, false, "the trace").error().what, HasSubstr("cannot map 4096 bytes of the trace"));
  EXPECT_THAT(Mapping::anonymous(uint64_t{1} << 62).error().what, HasSubstr("cannot allocate"));
}

TEST(MappingDeathTest, AnAccessBesideAMappingEndsTheProcess) {
  Mapping mapping = Mapping::anonymous(4096).value();
  volatile uint8_t* data = mapping.data();

  EXPECT_DEATH(data[-1] = 1, "");
  EXPECT_DEATH(data[4096] = 1, "");
}

TEST(MappingTest, MovesLeaveNothingBehind) {
  Mapping first = Mapping::anonymous(4096).value(), second = Mapping::anonymous(4096).value();
  uint8_t* data = first.data();

  second = std::move(first);

  EXPECT_EQ(second.data(), data);
  EXPECT_EQ(first.data(), nullptr);
  EXPECT_EQ(first.size(), 0u);
}

}  // namespace
}  // namespace dejavm
