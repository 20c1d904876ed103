// A file that changes while a reader has it open: its recorder seals it, or somebody cuts it.
#include <gtest/gtest.h>
#include <unistd.h>

#include "samples.h"

namespace dejavm::trace {
namespace {

constexpr WriterOptions kSmallChunks{.chunk_events = 1000, .journal_bytes = 64 << 10};

TEST(ChangingFile, ACutUnderAnOpenReaderIsDamage) {
  TempPath temp;
  write_trace(temp.file(), driver_events(5000), true, kSmallChunks);
  auto reader = Reader::open(temp.file()).value();
  vm::GuestMemory memory = sample_memory();

  ASSERT_EQ(::truncate(temp.file().c_str(), 100), 0);

  auto chunk = reader->read_chunk(2);
  ASSERT_FALSE(chunk);
  EXPECT_EQ(chunk.error().kind, ErrorKind::damaged);
  EXPECT_NE(chunk.error().what.find("became shorter while it was open"), std::string::npos) << chunk.error().what;
  EXPECT_FALSE(reader->load_initial_memory(memory));
  EXPECT_FALSE(reader->verify());
}

TEST(ChangingFile, AReaderOfALiveRecordingKeepsWhatItSaw) {
  TempPath temp;
  std::vector<Event> events = driver_events(5500);
  auto writer = Writer::create(temp.file(), sample_description(), sample_memory(), kSmallChunks).value();
  for (const Event& event : events) ASSERT_TRUE(writer->append(event));
  auto reader = Reader::open(temp.file()).value();

  for (const Event& event : driver_events(20000)) ASSERT_TRUE(writer->append(event));
  ASSERT_TRUE(writer->finish(sample_end(writer->events())));

  EXPECT_FALSE(reader->sealed());
  EXPECT_EQ(reader->damage(), "");
  EXPECT_EQ(describe(all_events(*reader)), describe(events));
}

TEST(ChangingFile, EveryMomentOfALiveRecordingCanBeOpened) {
  TempPath temp;
  std::vector<Event> events = driver_events(20000);
  auto writer = Writer::create(temp.file(), sample_description(), sample_memory(), kSmallChunks).value();
  uint64_t appended = 0;
  for (const Event& event : events) {
    ASSERT_TRUE(writer->append(event));
    if (++appended % 97 != 0) continue;
    auto reader = Reader::open(temp.file());
    ASSERT_TRUE(reader) << reader.error().what;
    ASSERT_EQ((*reader)->damage(), "") << "after " << appended << " events";
    ASSERT_EQ((*reader)->event_count(), appended);
  }
}

}  // namespace
}  // namespace dejavm::trace
