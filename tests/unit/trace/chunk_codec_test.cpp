#include "trace/chunk_codec.h"

#include <gtest/gtest.h>

#include "samples.h"
#include "trace/chunk_model.h"
#include "trace/compress.h"
#include "trace/limits.h"
#include "trace/record.h"

namespace dejavm::trace {
namespace {

std::vector<Event> encode_and_decode(const std::vector<Event>& events, bool has_time) {
  EncodedChunk chunk = encode_chunk(events, has_time).value();
  EXPECT_EQ(chunk.records, events.size());
  auto decoded = decode_chunk(chunk.stored, chunk.raw_length);
  EXPECT_TRUE(decoded.has_value()) << decoded.error().what;
  return std::move(decoded).value_or(std::vector<Event>());
}

TEST(ChunkCodec, EveryKindComesBack) {
  std::vector<Event> events = sample_events();
  EXPECT_EQ(describe(encode_and_decode(events, true)), describe(events));
}

TEST(ChunkCodec, WithoutTimesAllTimesAreZero) {
  std::vector<Event> events = sample_events();
  std::vector<Event> decoded = encode_and_decode(events, false);
  for (Event& event : events) event.time_us = 0;
  EXPECT_EQ(describe(decoded), describe(events));
}

TEST(ChunkCodec, AFullChunkComesBack) {
  std::vector<Event> events = driver_events(kMaxChunkRecords);
  EXPECT_EQ(describe(encode_and_decode(events, true)), describe(events));
}

TEST(ChunkCodec, RandomAccessesComeBack) {
  std::vector<Event> events;
  uint64_t random = 1;
  for (size_t i = 0; i < 20000; ++i) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    AccessEvent event;
    event.access.space = (random >> 20 & 1) != 0 ? vm::Space::pio : vm::Space::mmio;
    event.access.direction = (random >> 21 & 1) != 0 ? vm::Direction::write : vm::Direction::read;
    event.access.size = static_cast<uint8_t>(1 + (random >> 22) % 8);
    event.access.addr = (random >> 30) % 300 * 0x0101010101010101u;
    event.access.value = low_bytes(random >> 40 & 3, event.access.size);
    event.joins_previous = (random >> 50 & 7) == 0;
    if ((random >> 53 & 1) != 0) event.instruction = random >> 60;
    events.push_back({event, random >> 58});
  }
  EXPECT_EQ(describe(encode_and_decode(events, true)), describe(events));
}

TEST(ChunkCodec, MoreRegistersThanAnyDeviceHasComeBack) {
  std::vector<Event> events;
  for (uint64_t i = 0; i < kMaxChunkRecords; ++i) {
    events.push_back({AccessEvent{{.size = 8, .addr = i << 40, .value = ~i}, false, {}}, 0});
  }
  EXPECT_EQ(describe(encode_and_decode(events, false)), describe(events));
}

TEST(ChunkCodec, PollingCostsNextToNothing) {
  std::vector<Event> events(kMaxChunkRecords, Event{AccessEvent{{.size = 4, .addr = 0xfed000f0, .value = 1}, false, {}}, 0});
  EXPECT_LT(encode_chunk(events, false)->stored.size(), 200u);
}

TEST(ChunkCodec, EncodingIsDeterministicAndKeepsNoMemoryOfEarlierChunks) {
  ChunkEncoder encoder(true, 3);
  Words sample = records_of(sample_events(), 7);
  Words driver = records_of(driver_events(1000), 7);
  Bytes first = encoder.encode(sample, 7)->stored;
  ASSERT_TRUE(encoder.encode(driver, 7));
  EXPECT_EQ(encoder.encode(sample, 7)->stored, first);
}

TEST(ChunkCodec, AbsurdSizesAreRefusedBeforeAllocation) {
  EncodedChunk chunk = encode_chunk(driver_events(100), false).value();
  for (uint64_t claimed : {uint64_t{0}, uint64_t{8}, chunk.raw_length - 8, chunk.raw_length + 8, kMaxRawBytes,
                           kMaxRawBytes + 8, UINT64_MAX, UINT64_MAX - 7}) {
    auto decoded = decode_chunk(chunk.stored, claimed);
    ASSERT_FALSE(decoded) << claimed;
    EXPECT_EQ(decoded.error().kind, ErrorKind::damaged);
  }
}

TEST(ChunkCodec, AnyFlippedBitOfTheRawColumnsIsAnErrorOrOtherEvents) {
  EncodedChunk chunk = encode_chunk(sample_events(), true).value();
  Words raw = decompress(chunk.stored, chunk.raw_length).value();
  Bytes bytes(bytes_of(raw).begin(), bytes_of(raw).end());
  size_t refused = 0;
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    auto decoded = decode_chunk(bytes, bytes.size());
    refused += decoded ? 0 : 1;
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
  EXPECT_GT(refused, 100u);
}

TEST(Records, ARecordOfAnotherChunkIsRefused) {
  Words log = records_of(sample_events(), 1);
  EXPECT_TRUE(parse_record(log, 1));
  EXPECT_FALSE(parse_record(log, 2));
}

}  // namespace
}  // namespace dejavm::trace
