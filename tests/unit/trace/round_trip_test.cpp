#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "samples.h"
#include "trace/limits.h"

namespace dejavm::trace {
namespace {

using testing::HasSubstr;

std::unique_ptr<Reader> open_intact(const std::string& path) {
  auto reader = Reader::open(path);
  EXPECT_TRUE(reader.has_value()) << reader.error().what;
  EXPECT_EQ((*reader)->damage(), "");
  Status verified = (*reader)->verify();
  EXPECT_TRUE(verified.has_value()) << verified.error().what;
  return std::move(*reader);
}

TEST(Trace, EverythingComesBackFromASealedFile) {
  TempPath temp;
  write_trace(temp.file(), sample_events());

  auto reader = open_intact(temp.file());

  EXPECT_TRUE(reader->sealed());
  EXPECT_EQ(describe(all_events(*reader)), describe(sample_events()));
  EXPECT_EQ(reader->event_count(), 20u);
  ASSERT_NE(reader->end(), nullptr);
  EXPECT_EQ(reader->end()->reason, "guest powered off");
  EXPECT_EQ(reader->end()->ram_digest, 0x1111u);
  EXPECT_EQ(reader->file_size(), std::filesystem::file_size(temp.file()));
}

TEST(Trace, TheDescriptionComesBack) {
  TempPath temp;
  write_trace(temp.file(), {});

  auto reader = open_intact(temp.file());

  Description expected = sample_description();
  const Description& found = reader->description();
  EXPECT_EQ(found.tool, expected.tool);
  EXPECT_EQ(found.command_line, expected.command_line);
  EXPECT_EQ(found.host, expected.host);
  EXPECT_EQ(found.host_cpu, expected.host_cpu);
  EXPECT_EQ(found.engine, expected.engine);
  EXPECT_EQ(found.start_unix_s, expected.start_unix_s);
  EXPECT_EQ(found.machine, expected.machine);
  EXPECT_EQ(found.cpu_model, expected.cpu_model);
  EXPECT_EQ(found.ram_size, expected.ram_size);
  EXPECT_EQ(found.rom_size, expected.rom_size);
  EXPECT_EQ(found.memory, expected.memory);
  EXPECT_EQ(found.devices, expected.devices);
  EXPECT_EQ(found.cpu, expected.cpu);
  EXPECT_EQ(found.replayable_on, expected.replayable_on);
  EXPECT_EQ(found.replayable_why, expected.replayable_why);
  EXPECT_EQ(found.has_time, expected.has_time);
}

TEST(Trace, InitialMemoryComesBack) {
  TempPath temp;
  write_trace(temp.file(), {});
  vm::GuestMemory expected = sample_memory();
  vm::GuestMemory memory = vm::GuestMemory::create(expected.ram_size(), expected.rom_size()).value();

  ASSERT_TRUE(open_intact(temp.file())->load_initial_memory(memory));

  for (uint64_t page = 0; page < memory.page_count(); ++page) {
    EXPECT_TRUE(std::ranges::equal(memory.page(page), expected.page(page))) << page;
  }
}

TEST(Trace, MemoryOfOtherSizesIsRefused) {
  TempPath temp;
  write_trace(temp.file(), {});
  vm::GuestMemory memory = vm::GuestMemory::create(vm::kPageSize, 0).value();
  EXPECT_FALSE(open_intact(temp.file())->load_initial_memory(memory));
}

TEST(Trace, AnEndAtAMatchedStateComesBack) {
  TempPath temp;
  auto writer = Writer::create(temp.file(), sample_description(), sample_memory()).value();
  End end = sample_end(0);
  end.where = {Placement::state, 0, std::make_shared<MatchedState>(MatchedState{sample_cpu(), 5})};
  end.cpu_is_dead = true;
  ASSERT_TRUE(writer->finish(end));

  auto reader = open_intact(temp.file());

  ASSERT_NE(reader->end(), nullptr);
  EXPECT_TRUE(reader->end()->cpu_is_dead);
  EXPECT_EQ(*reader->end()->where.state, *end.where.state);
}

TEST(Trace, ManyChunksComeBackInOrder) {
  TempPath temp;
  std::vector<Event> events = driver_events(10000);
  write_trace(temp.file(), events, true, {.chunk_events = 97});

  auto reader = open_intact(temp.file());

  EXPECT_EQ(reader->chunks().size(), (10000 + 96) / 97u);
  EXPECT_EQ(describe(all_events(*reader)), describe(events));
  EXPECT_EQ(reader->read_chunk(3)->size(), 97u);
  EXPECT_FALSE(reader->read_chunk(reader->chunks().size()));
}

TEST(Trace, JournalsThatFillUpBecomeChunks) {
  TempPath temp;
  std::vector<Event> events = driver_events(20000);
  write_trace(temp.file(), events, true, {.journal_bytes = 64 << 10});

  auto reader = open_intact(temp.file());

  EXPECT_GT(reader->chunks().size(), 10u);
  EXPECT_EQ(describe(all_events(*reader)), describe(events));
}

TEST(Trace, AChunkIsClosedWhenItIsOld) {
  TempPath temp;
  std::vector<Event> events = {{HaltEvent{}, 0}, {HaltEvent{}, 999999}, {HaltEvent{}, 1000000}, {HaltEvent{}, 1500000}};
  write_trace(temp.file(), events);

  auto reader = open_intact(temp.file());

  ASSERT_EQ(reader->chunks().size(), 2u);
  EXPECT_EQ(reader->chunks()[1].first_event, 2u);
}

TEST(Trace, EventsLargerThanAJournalComeBack) {
  TempPath temp;
  Bytes large(300000);
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<uint8_t>(i * i >> 3);
  std::vector<Event> events = {{HaltEvent{}, 1},
                               {MemoryWriteEvent{0, large, {}}, 2},
                               {MemoryWriteEvent{5, large, {}}, 3},
                               {HaltEvent{}, 4},
                               {AnnotationEvent{std::string(200000, 'x')}, 5},
                               {HaltEvent{}, 6}};
  write_trace(temp.file(), events, true, {.journal_bytes = 64 << 10});
  EXPECT_EQ(describe(all_events(*open_intact(temp.file()))), describe(events));
}

TEST(Trace, AMemoryWriteBeyondTheLimitIsRefused) {
  TempPath temp;
  auto writer = Writer::create(temp.file(), sample_description(), sample_memory()).value();
  Status appended = writer->append({MemoryWriteEvent{0, Bytes(kMaxEventBytes + 1), {}}, 0});
  ASSERT_FALSE(appended);
  EXPECT_THAT(appended.error().what, HasSubstr("at most"));
}

TEST(Trace, CursorSeeksToAnyEvent) {
  TempPath temp;
  std::vector<Event> events;
  for (uint64_t i = 0; i < 60; ++i) {
    if (i % 3 == 0) events.push_back({AnnotationEvent{std::to_string(i)}, i});
    events.push_back({CpuReadEvent{static_cast<uint32_t>(i), false, i, false}, i});
  }
  write_trace(temp.file(), events, true, {.chunk_events = 7});
  auto reader = open_intact(temp.file());
  EventCursor cursor(*reader);
  for (uint64_t number : {59, 0, 30, 31, 6, 58, 33}) {
    ASSERT_TRUE(cursor.seek(number));
    EXPECT_EQ(cursor.next_number(), number);
    const Event* event = cursor.next().value();
    ASSERT_NE(event, nullptr);
    EXPECT_EQ(std::get<CpuReadEvent>(event->body).value, number);
    EXPECT_EQ(cursor.next_number(), number + 1);
  }
  ASSERT_TRUE(cursor.seek(1000));
  EXPECT_EQ(cursor.next_number(), 60u);
  EXPECT_EQ(cursor.next().value(), nullptr);
}

TEST(Trace, PeekDoesNotTake) {
  TempPath temp;
  write_trace(temp.file(), sample_events());
  auto reader = open_intact(temp.file());
  EventCursor cursor(*reader);
  std::string peeked = describe(*cursor.peek().value());
  EXPECT_EQ(describe(*cursor.next().value()), peeked);
  EXPECT_EQ(cursor.next_number(), 1u);
}

TEST(Trace, AFolderThatDoesNotExistIsAnErrorThatNamesThePath) {
  auto writer = Writer::create("/nowhere/t.dvt", sample_description(), sample_memory());
  ASSERT_FALSE(writer);
  EXPECT_THAT(writer.error().what, HasSubstr("/nowhere/t.dvt"));
}

TEST(Trace, FilesThatAreNotTracesAreRefusedByName) {
  TempPath temp;
  std::ofstream(temp.file("empty")).close();
  std::ofstream(temp.file("text")) << "hello, this is not a trace at all, but long enough to hold a whole header of it";
  for (const char* name : {"empty", "text"}) {
    auto reader = Reader::open(temp.file(name));
    ASSERT_FALSE(reader);
    EXPECT_THAT(reader.error().what, HasSubstr("is not a dejavm trace"));
    EXPECT_EQ(reader.error().kind, ErrorKind::damaged);
  }
  EXPECT_THAT(Reader::open(temp.file("absent")).error().what, HasSubstr("No such file"));
  EXPECT_THAT(Reader::open(temp.folder()).error().what, HasSubstr("not a regular file"));
}

TEST(Trace, ANewerVersionIsRefusedByName) {
  TempPath temp;
  write_trace(temp.file(), {});
  Bytes bytes = file_bytes(temp.file());
  bytes[8] = 2;
  auto reader = Reader::open(bytes);
  ASSERT_FALSE(reader);
  EXPECT_THAT(reader.error().what, HasSubstr("trace version 2, this dejavm reads up to 1; use a newer dejavm"));
}

}  // namespace
}  // namespace dejavm::trace
