// The golden file pins format version 1: today's writer makes exactly these bytes, and every later reader reads them.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "samples.h"
#include "trace/frame.h"

namespace dejavm::trace {
namespace {

std::vector<Event> golden_events() {
  std::vector<Event> events = sample_events();
  for (Event& event : events) event.time_us = 0;
  return events;
}

/// Two chunks and a keyframe; no times.
void write_golden(const std::string& path) {
  vm::GuestMemory memory = sample_memory();
  auto writer = Writer::create(path, sample_description(false), memory).value();
  for (const Event& event : golden_events()) ASSERT_TRUE(writer->append(event));
  ASSERT_TRUE(
      writer->append_keyframe(sample_cpu(), memory, sample_description().devices, {0, 3}, StepCounts{0x1234, 0x1200}, 0));
  for (const Event& event : golden_events()) ASSERT_TRUE(writer->append(event));
  ASSERT_TRUE(writer->finish(sample_end(writer->events())));
}

/// DEJAVM_WRITE_GOLDEN=1 rewrites the file; do so only together with a new version or field, and its document.
Bytes golden_bytes() {
  if (std::getenv("DEJAVM_WRITE_GOLDEN") != nullptr) write_golden(DEJAVM_GOLDEN_TRACE);
  return file_bytes(DEJAVM_GOLDEN_TRACE);
}

TEST(Golden, TheWriterMakesExactlyTheseBytes) {
  Bytes golden = golden_bytes();
  TempPath temp;
  write_golden(temp.file());
  EXPECT_TRUE(file_bytes(temp.file()) == golden) << "the format changed: raise its version (see docs/trace-format.md)";
}

TEST(Golden, TheReaderReadsIt) {
  Bytes golden = golden_bytes();
  auto reader = Reader::open(golden).value();
  EXPECT_TRUE(reader->sealed());
  EXPECT_EQ(reader->damage(), "");
  EXPECT_TRUE(reader->verify());
  ASSERT_EQ(reader->keyframe_count(), 1u);
  EXPECT_EQ(reader->read_keyframe(0)->steps, (StepCounts{0x1234, 0x1200}));
  ASSERT_EQ(reader->chunks().size(), 2u);
  EXPECT_EQ(describe(reader->read_chunk(0).value()), describe(golden_events()));
}

TEST(Golden, AKeyframeOfBeforeStepsWereWrittenSaysThatTheyAreUnknown) {
  Bytes old = file_bytes(DEJAVM_GOLDEN_TRACE_WITHOUT_STEPS);

  auto reader = Reader::open(old).value();

  EXPECT_TRUE(reader->sealed());
  EXPECT_EQ(reader->damage(), "");
  EXPECT_TRUE(reader->verify());
  EXPECT_EQ(describe(reader->read_chunk(0).value()), describe(golden_events()));
  Keyframe keyframe = reader->read_keyframe(0).value();
  EXPECT_EQ(keyframe.cpu, sample_cpu());
  EXPECT_EQ(keyframe.steps, std::nullopt);
}

TEST(Golden, TruncatedAtEveryByteItNeverCrashesAndKeepsWhatIsBefore) {
  Bytes golden = golden_bytes();
  uint64_t survivors = 0;
  for (size_t size = 0; size < golden.size(); ++size) {
    auto reader = Reader::open(ByteSpan(golden).first(size));
    if (!reader) continue;
    ASSERT_FALSE((*reader)->sealed()) << size;
    ASSERT_NE((*reader)->damage(), "") << size;
    ASSERT_GE((*reader)->event_count(), survivors) << size;
    survivors = (*reader)->event_count();
  }
  EXPECT_EQ(survivors, 40u);
}

TEST(Golden, EveryFlippedBitIsNoticed) {
  Bytes golden = golden_bytes();
  for (size_t bit = 0; bit < 8 * golden.size(); ++bit) {
    size_t byte = bit / 8;
    golden[byte] ^= static_cast<uint8_t>(1 << bit % 8);
    auto reader = Reader::open(golden);
    bool noticed = !reader || !(*reader)->damage().empty();
    // The journal table and the zeros behind it are not read in a sealed file.
    bool means_nothing = byte >= kJournalTableAt && byte < kFileCheckAt;
    ASSERT_EQ(noticed, !means_nothing) << "byte " << byte << " bit " << bit % 8;
    golden[byte] ^= static_cast<uint8_t>(1 << bit % 8);
  }
}

TEST(Golden, FlippedBitsOfAnUnsealedFileNeverCrash) {
  TempPath temp;
  std::vector<Event> events = golden_events();
  auto writer = Writer::create(temp.file(), sample_description(false), sample_memory(), {.journal_bytes = 64 << 10}).value();
  for (const Event& event : events) ASSERT_TRUE(writer->append(event));
  writer.reset();
  Bytes bytes = file_bytes(temp.file());
  ChunkInfo journal = Reader::open(bytes).value()->chunks().at(0);
  ASSERT_EQ(journal.records, events.size());
  for (size_t byte = journal.offset - 64; byte < journal.offset + journal.stored_bytes; ++byte) {
    bytes[byte] ^= 0x10;
    auto reader = Reader::open(bytes).value();
    ASSERT_LE(reader->event_count(), 20u);
    static_cast<void>(reader->verify());
    bytes[byte] ^= 0x10;
  }
}

}  // namespace
}  // namespace dejavm::trace
