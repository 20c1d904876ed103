// Damage anywhere: nothing crashes, what stands before it is read, and the place is named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "samples.h"
#include "trace/chunk_codec.h"
#include "trace/description_message.h"
#include "trace/limits.h"

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

/// That many ranges of a page, which do not overlap.
std::vector<vm::MemoryRange> map_of(uint64_t ranges) {
  std::vector<vm::MemoryRange> map;
  for (uint64_t i = 0; i < ranges; ++i) map.push_back({{i * vm::kPageSize}, vm::kPageSize, 0, true});
  return map;
}

TEST(Damage, AMapOfTooManyRangesIsDamageWithTheirNumber) {
  Description description = sample_description();
  description.memory = map_of(kMaxMapRanges + 1);
  std::vector<Event> largest = {{MemoryMapEvent{map_of(kMaxMapRanges), {}, {}}, 0}};
  std::vector<Event> too_large = {{MemoryMapEvent{map_of(kMaxMapRanges + 1), {}, {}}, 0}};
  EncodedChunk good = encode_chunk(largest, true).value(), bad = encode_chunk(too_large, true).value();

  auto head = read_description(description_message(description));
  auto keyframe = read_keyframe_message(keyframe_message({0, sample_cpu(), map_of(kMaxMapRanges + 1), {}, {}}));
  auto events = decode_chunk(bad.stored, bad.raw_length);

  EXPECT_TRUE(decode_chunk(good.stored, good.raw_length));
  ASSERT_FALSE(head);
  ASSERT_FALSE(keyframe);
  ASSERT_FALSE(events);
  for (const Error& error : {head.error(), keyframe.error(), events.error()}) {
    EXPECT_EQ(error.kind, ErrorKind::damaged);
    EXPECT_THAT(error.what, HasSubstr("a memory map has 513 ranges"));
  }
}

TEST(Damage, AWriterMakesNoMapThatAReaderRefuses) {
  TempPath temp;
  auto writer = Writer::create(temp.file(), sample_description(), sample_memory()).value();

  Status appended = writer->append({MemoryMapEvent{map_of(kMaxMapRanges + 1), {}, {}}, 0});

  ASSERT_FALSE(appended);
  EXPECT_THAT(appended.error().what, HasSubstr("513 ranges"));
}

}  // namespace
}  // namespace dejavm::trace
