#include <gtest/gtest.h>

#include <algorithm>

#include "samples.h"
#include "trace/description_message.h"

namespace dejavm::trace {
namespace {

/// Fills a page with a byte.
void fill(vm::GuestMemory& memory, uint64_t page, uint8_t byte) {
  ASSERT_TRUE(memory.write_backing(page * vm::kPageSize, Bytes(vm::kPageSize, byte), vm::Writer::device));
}

/// A trace with two keyframes: after event 1 page 2 is filled and page 3 cleared, after event 2 pages 2 and 5 are filled
/// anew.
void write_keyframed(const std::string& path, WriterOptions options = {}) {
  vm::GuestMemory memory = sample_memory();
  vm::CpuState cpu = sample_cpu();
  auto writer = Writer::create(path, sample_description(), memory, options).value();
  ASSERT_TRUE(writer->append({HaltEvent{}, 1}));
  fill(memory, 2, 0x22);
  fill(memory, 3, 0);
  ASSERT_TRUE(writer->append_keyframe(cpu, memory, sample_description().devices, {2, 3}, StepCounts{70, 68}, 2));
  ASSERT_TRUE(writer->append({HaltEvent{}, 3}));
  fill(memory, 2, 0x33);
  fill(memory, 5, 0x33);
  cpu.rip = 0x777;
  ASSERT_TRUE(writer->append_keyframe(cpu, memory, {}, {2, 5}, std::nullopt, 4));
  ASSERT_TRUE(writer->append({HaltEvent{}, 5}));
  ASSERT_TRUE(writer->finish(sample_end(3)));
}

TEST(Keyframes, StateAndPlaceComeBack) {
  TempPath temp;
  write_keyframed(temp.file());
  auto reader = Reader::open(temp.file()).value();
  ASSERT_EQ(reader->keyframe_count(), 2u);
  Keyframe keyframe = reader->read_keyframe(1).value();
  EXPECT_EQ(keyframe.after_event, 2u);
  EXPECT_EQ(keyframe.cpu.rip, 0x777u);
  EXPECT_EQ(keyframe.memory, sample_memory().map());
  EXPECT_TRUE(keyframe.devices.empty());
  EXPECT_EQ(keyframe.steps, std::nullopt);
  EXPECT_EQ(reader->read_keyframe(0)->devices, sample_description().devices);
  EXPECT_EQ(reader->read_keyframe(0)->steps, (StepCounts{70, 68}));
  EXPECT_FALSE(reader->read_keyframe(2));
  EXPECT_TRUE(reader->verify());
}

TEST(Keyframes, CountsOfStepsThatNoGuestReachesAreDamage) {
  constexpr uint64_t kTooMany = uint64_t{1} << 62;

  auto good = read_keyframe_message(keyframe_message({0, sample_cpu(), {}, {}, StepCounts{kTooMany - 1, kTooMany - 1}}));
  auto here = read_keyframe_message(keyframe_message({0, sample_cpu(), {}, {}, StepCounts{kTooMany, 0}}));
  auto last = read_keyframe_message(keyframe_message({0, sample_cpu(), {}, {}, StepCounts{0, UINT64_MAX}}));

  EXPECT_TRUE(good);
  ASSERT_FALSE(here);
  ASSERT_FALSE(last);
  EXPECT_EQ(here.error().kind, ErrorKind::damaged);
  EXPECT_EQ(last.error().kind, ErrorKind::damaged);
}

TEST(Keyframes, EventsPointToThem) {
  TempPath temp;
  write_keyframed(temp.file());
  std::vector<Event> events = all_events(*Reader::open(temp.file()).value());
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(std::get<KeyframeEvent>(events[1].body).index, 0u);
  EXPECT_EQ(std::get<KeyframeEvent>(events[3].body).index, 1u);
}

TEST(Keyframes, MemoryIsRebuiltFromAllUpToTheOneAskedFor) {
  TempPath temp;
  write_keyframed(temp.file());
  auto reader = Reader::open(temp.file()).value();
  vm::GuestMemory expected = sample_memory();
  fill(expected, 2, 0x33);
  fill(expected, 3, 0);
  fill(expected, 5, 0x33);
  vm::GuestMemory memory = vm::GuestMemory::create(expected.ram_size(), expected.rom_size()).value();

  ASSERT_TRUE(reader->load_initial_memory(memory));
  ASSERT_TRUE(reader->load_keyframe_memory(1, memory));

  for (uint64_t page = 0; page < memory.page_count(); ++page) {
    EXPECT_TRUE(std::ranges::equal(memory.page(page), expected.page(page))) << page;
  }
}

TEST(Keyframes, LargerThanTheRoomBeforeTheJournalsTheyDamageNothing) {
  TempPath temp;
  constexpr uint64_t kPages = 1024;
  auto memory = vm::GuestMemory::create(kPages * vm::kPageSize, 0).value();
  Description description = sample_description();
  description.ram_size = memory.ram_size();
  description.rom_size = 0;
  auto writer = Writer::create(temp.file(), description, memory, {.journal_bytes = 64 << 10}).value();
  std::vector<uint64_t> pages;
  uint64_t random = 1;
  for (uint64_t page = 0; page < kPages; ++page) {
    Bytes bytes(vm::kPageSize);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>((random = random * 6364136223846793005u + 1) >> 56);
    ASSERT_TRUE(memory.write_backing(page * vm::kPageSize, bytes, vm::Writer::device));
    pages.push_back(page);
  }

  ASSERT_TRUE(writer->append({HaltEvent{}, 0}));
  ASSERT_TRUE(writer->append_keyframe(sample_cpu(), memory, {}, pages, std::nullopt, 0));
  ASSERT_TRUE(writer->append({HaltEvent{}, 0}));
  writer.reset();  // unsealed: the last event is in a journal behind the keyframe

  auto reader = Reader::open(temp.file()).value();
  EXPECT_EQ(reader->damage(), "");
  EXPECT_EQ(reader->event_count(), 2u);
  auto loaded = vm::GuestMemory::create(memory.ram_size(), 0).value();
  ASSERT_TRUE(reader->load_keyframe_memory(0, loaded));
  EXPECT_TRUE(std::ranges::equal(loaded.page(kPages - 1), memory.page(kPages - 1)));
}

}  // namespace
}  // namespace dejavm::trace
