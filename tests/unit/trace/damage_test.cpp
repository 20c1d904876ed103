// Damage anywhere: nothing crashes, what stands before it is read, and the place is named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "samples.h"

namespace dejavm::trace {
namespace {

using testing::HasSubstr;

/// A file of five chunks of ten events.
Bytes five_chunks() {
  TempPath temp;
  write_trace(temp.file(), driver_events(50), true, {.chunk_events = 10});
  return file_bytes(temp.file());
}

TEST(Damage, ADamagedChunkEndsTheEventsAndIsNamed) {
  Bytes bytes = five_chunks();
  ChunkInfo third = Reader::open(bytes).value()->chunks().at(2);
  bytes[third.offset + third.stored_bytes - 1] ^= 1;

  auto reader = Reader::open(bytes).value();

  EXPECT_EQ(reader->event_count(), 20u);
  EXPECT_EQ(reader->chunks().size(), 2u);
  EXPECT_FALSE(reader->sealed());
  EXPECT_THAT(reader->damage(), HasSubstr(fmt::format("damaged at byte {} after event 19", third.offset)));
  EXPECT_EQ(describe(all_events(*reader)), describe(driver_events(20)));
  Status verified = reader->verify();
  ASSERT_FALSE(verified);
  EXPECT_EQ(verified.error().kind, ErrorKind::damaged);
}

TEST(Damage, AChunkThatIsMissingEndsTheEvents) {
  Bytes bytes = five_chunks();
  auto chunks = Reader::open(bytes).value()->chunks();
  bytes.erase(bytes.begin() + static_cast<ptrdiff_t>(chunks[1].offset),
              bytes.begin() + static_cast<ptrdiff_t>(chunks[2].offset));
  auto reader = Reader::open(bytes).value();
  EXPECT_EQ(reader->event_count(), 10u);
  EXPECT_NE(reader->damage(), "");
}

TEST(Damage, ADamagedChunkOfAnUnsealedFileIsNamedThoughTheJournalIsEmpty) {
  TempPath temp;
  auto writer = Writer::create(temp.file(), sample_description(), sample_memory(), {.chunk_events = 10}).value();
  for (const Event& event : driver_events(31)) ASSERT_TRUE(writer->append(event));
  writer.reset();
  Bytes bytes = file_bytes(temp.file());
  auto chunks = Reader::open(bytes).value()->chunks();
  ASSERT_EQ(chunks.size(), 4u);
  store_le(&bytes[chunks[3].offset - 32], uint64_t{0});  // the journal's count of committed bytes
  bytes[chunks[2].offset + 70] ^= 4;

  auto reader = Reader::open(bytes).value();

  EXPECT_EQ(reader->event_count(), 20u);
  EXPECT_THAT(reader->damage(), HasSubstr(fmt::format("damaged at byte {} after event 19", chunks[2].offset)));
}

TEST(Damage, BytesBehindTheEndMeanNothing) {
  Bytes bytes = five_chunks();
  bytes.resize(bytes.size() + 5000, 0xff);
  auto reader = Reader::open(bytes).value();
  EXPECT_TRUE(reader->sealed());
  EXPECT_EQ(reader->damage(), "");
}

TEST(Damage, TruncationAtEveryByteLosesOnlyWhatIsBehind) {
  const Bytes whole = five_chunks();
  uint64_t survivors = 0;
  for (size_t size = 0; size < whole.size(); ++size) {
    auto reader = Reader::open(ByteSpan(whole).first(size));
    uint64_t events = reader ? (*reader)->event_count() : 0;
    ASSERT_GE(events, survivors) << size;
    survivors = events;
    if (!reader) continue;
    ASSERT_NE((*reader)->damage(), "") << size;
    ASSERT_EQ(all_events(**reader).size(), events) << size;
  }
  EXPECT_EQ(survivors, 50u);
}

}  // namespace
}  // namespace dejavm::trace
