// A recorder that dies loses nothing that append() returned for.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "samples.h"

namespace dejavm::trace {
namespace {

/// Appends events in a child process that then kills itself.
void record_and_die(const std::string& path, const std::vector<Event>& events, WriterOptions options) {
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto writer = Writer::create(path, sample_description(), sample_memory(), options);
    if (!writer) ::_exit(1);
    for (const Event& event : events) {
      if (!(*writer)->append(event)) ::_exit(2);
    }
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status)) << "exit status " << WEXITSTATUS(status);
}

void expect_all(const std::string& path, const std::vector<Event>& events) {
  auto reader = Reader::open(path);
  ASSERT_TRUE(reader) << reader.error().what;
  EXPECT_FALSE((*reader)->sealed());
  EXPECT_EQ((*reader)->end(), nullptr);
  EXPECT_EQ((*reader)->damage(), "");
  EXPECT_TRUE((*reader)->verify());
  EXPECT_EQ(describe(all_events(**reader)), describe(events));
}

class Killed : public testing::TestWithParam<size_t> {};

TEST_P(Killed, NothingIsLost) {
  TempPath temp;
  std::vector<Event> events = driver_events(GetParam());
  record_and_die(temp.file(), events, {.chunk_events = 1000, .chunk_ms = 1000, .zstd_level = 3, .journal_bytes = 64 << 10});
  expect_all(temp.file(), events);
}

// Around the ends of chunks and journals, where two journals may be live.
INSTANTIATE_TEST_SUITE_P(Counts, Killed, testing::Values(0, 1, 999, 1000, 1001, 1002, 2000, 2001, 3001, 7001, 25001, 50000));

TEST(KilledAtOnce, EveryKindOfEventIsThere) {
  TempPath temp;
  record_and_die(temp.file(), sample_events(), {});
  expect_all(temp.file(), sample_events());
}

TEST(KilledAtOnce, EventsLargerThanAJournalAreThere) {
  TempPath temp;
  std::vector<Event> events = {{HaltEvent{}, 1}, {MemoryWriteEvent{0, Bytes(200000, 7), {}}, 2}};
  record_and_die(temp.file(), events, {.journal_bytes = 64 << 10});
  expect_all(temp.file(), events);
}

TEST(KilledAtOnce, AWriterThatIsDroppedLeavesAReadableFile) {
  TempPath temp;
  std::vector<Event> events = driver_events(5000);
  {
    auto writer = Writer::create(temp.file(), sample_description(), sample_memory(), {.chunk_events = 1000}).value();
    for (const Event& event : events) ASSERT_TRUE(writer->append(event));
  }
  expect_all(temp.file(), events);
}

TEST(KilledAtOnce, ACutOffJournalGivesTheRecordsBeforeTheCut) {
  TempPath temp;
  std::vector<Event> events = driver_events(100);
  record_and_die(temp.file(), events, {});
  ChunkInfo chunk = Reader::open(temp.file()).value()->chunks().at(0);
  ASSERT_EQ(::truncate(temp.file().c_str(), static_cast<off_t>(chunk.offset + 50 * 40 + 3)), 0);

  auto reader = Reader::open(temp.file()).value();

  EXPECT_EQ(reader->event_count(), 50u);
  EXPECT_NE(reader->damage().find(fmt::format("byte {} after event 49", chunk.offset + 50 * 40)), std::string::npos)
      << reader->damage();
}

}  // namespace
}  // namespace dejavm::trace
