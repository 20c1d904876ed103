#include "cli/event_filter.h"

#include <gmock/gmock.h>

#include "temp_folder.h"
#include "trace/event_text.h"
#include "trace/writer.h"

namespace dejavm::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using vm::Direction;
using vm::Space;

Status no_operand(std::string_view) { return {}; }

/// Another reader that counts the chunks that are read.
class CountingReader final : public trace::Reader {
 public:
  explicit CountingReader(const trace::Reader& inner) : inner_(inner) {}

  uint64_t chunks_read() const { return chunks_read_; }

  const trace::Description& description() const override { return inner_.description(); }
  Status load_initial_memory(vm::GuestMemory& memory) const override { return inner_.load_initial_memory(memory); }
  const std::vector<trace::ChunkInfo>& chunks() const override { return inner_.chunks(); }
  Result<std::vector<trace::Event>> read_chunk(size_t index) const override {
    ++chunks_read_;
    return inner_.read_chunk(index);
  }
  uint64_t event_count() const override { return inner_.event_count(); }
  size_t keyframe_count() const override { return inner_.keyframe_count(); }
  Result<trace::Keyframe> read_keyframe(size_t index) const override { return inner_.read_keyframe(index); }
  Status load_keyframe_memory(size_t index, vm::GuestMemory& memory) const override {
    return inner_.load_keyframe_memory(index, memory);
  }
  const trace::End* end() const override { return inner_.end(); }
  bool sealed() const override { return inner_.sealed(); }
  const std::string& damage() const override { return inner_.damage(); }
  uint64_t file_size() const override { return inner_.file_size(); }
  Status verify() const override { return inner_.verify(); }

 private:
  const trace::Reader& inner_;
  mutable uint64_t chunks_read_ = 0;
};

/// A trace of a few events, with a device that appears in the middle.
class EventFilterTest : public testing::Test {
 protected:
  EventFilterTest() {
    vm::GuestMemory memory = vm::GuestMemory::create(vm::kPageSize, 0).value();
    trace::Description d;
    d.ram_size = vm::kPageSize;
    d.memory = {{{0}, vm::kPageSize, 0, true}};
    d.devices = {{"edu", 0, Space::mmio, 0xf0000000, 0x1000, 0}, {"serial0", 0, Space::pio, 0x3f8, 8, 0}};
    auto later = d.devices;
    later.push_back({"nic", 0, Space::mmio, 0xe0000000, 0x1000, 0});
    auto writer = trace::Writer::create(folder_.file("t.dvt"), d, memory, {.chunk_events = 3}).value();
    for (const trace::Event& event :
         std::vector<trace::Event>{{trace::AccessEvent{{Space::mmio, Direction::read, 4, 0xf0000000, 7}, false, {}}},
                                   {trace::AccessEvent{{Space::mmio, Direction::write, 2, 0xf0000080, 0x21}, false, {}}},
                                   {trace::DigestEvent{}},
                                   {trace::InterruptEvent{0x24, {}}},
                                   {trace::MemoryMapEvent{d.memory, later, {}}},
                                   {trace::AccessEvent{{Space::mmio, Direction::read, 4, 0xe0000004, 9}, false, {}}},
                                   {trace::AccessEvent{{Space::pio, Direction::write, 1, 0x3f8, 'A'}, false, {}}}}) {
      EXPECT_TRUE(writer->append(event));
    }
    EXPECT_TRUE(writer->finish({.events = writer->events()}));
    reader_ = trace::Reader::open(folder_.file("t.dvt")).value();
  }

  /// The numbers of the events that pass; "-" for those that have none.
  std::vector<std::string> pass(const std::vector<std::string>& words) {
    EventFilter filter;
    EXPECT_TRUE(parse_options(words, filter.options(), no_operand));
    EXPECT_TRUE(filter.resolve(*reader_));
    std::vector<std::string> numbers;
    EXPECT_TRUE(for_each_event(*reader_, filter, [&](const ListedEvent& listed) {
      numbers.push_back(listed.number ? std::to_string(*listed.number) : "-");
      return true;
    }));
    return numbers;
  }
  std::string error(const std::vector<std::string>& words) {
    EventFilter filter;
    Status status = parse_options(words, filter.options(), no_operand);
    if (status) status = filter.resolve(*reader_);
    return status ? "" : status.error().what;
  }

  TempFolder folder_;
  std::unique_ptr<trace::Reader> reader_;
};

TEST_F(EventFilterTest, WithoutFiltersEverythingPasses) {
  EXPECT_THAT(pass({}), ElementsAre("0", "1", "-", "2", "3", "4", "5"));
}

TEST_F(EventFilterTest, AccessesByPlace) {
  EXPECT_THAT(pass({"--device", "edu"}), ElementsAre("0", "1"));
  EXPECT_THAT(pass({"--device", "edu+0x80"}), ElementsAre("1"));
  EXPECT_THAT(pass({"--gpa", "0xf0000000-0xf0000fff"}), ElementsAre("0", "1"));
  EXPECT_THAT(pass({"--port", "0x3f8"}), ElementsAre("5"));
  EXPECT_THAT(pass({"--port", "0x3f8", "--device=edu"}), ElementsAre("0", "1", "5"));
}

TEST_F(EventFilterTest, ADeviceThatAppearsLaterIsFound) { EXPECT_THAT(pass({"--device", "nic"}), ElementsAre("4")); }

TEST_F(EventFilterTest, NamesThatAreThereAtTheStartNeedNoEvents) {
  CountingReader counting(*reader_);
  EventFilter filter;
  ASSERT_TRUE(parse_options({"--device", "edu", "--port", "0x3f8"}, filter.options(), no_operand));

  ASSERT_TRUE(filter.resolve(counting));
  EXPECT_EQ(counting.chunks_read(), 0u);

  ASSERT_TRUE(parse_options({"--device", "nic"}, filter.options(), no_operand));
  ASSERT_TRUE(filter.resolve(counting));
  EXPECT_EQ(counting.chunks_read(), 2u) << "the chunk that maps the nic is the second of three";
}

TEST_F(EventFilterTest, AWalkReadsAChunkWhenItComesThere) {
  CountingReader counting(*reader_);

  ASSERT_TRUE(for_each_event(counting, EventFilter(), [](const ListedEvent&) { return false; }));

  EXPECT_EQ(counting.chunks_read(), 1u);
}

TEST_F(EventFilterTest, AccessesByWhatTheyDo) {
  EXPECT_THAT(pass({"--read"}), ElementsAre("0", "4"));
  EXPECT_THAT(pass({"--write"}), ElementsAre("1", "5"));
  EXPECT_THAT(pass({"--size", "2"}), ElementsAre("1"));
  EXPECT_THAT(pass({"--value", "0x1/0x1"}), ElementsAre("0", "1", "4", "5"));
  EXPECT_THAT(pass({"--value", "9", "--read"}), ElementsAre("4"));
}

TEST_F(EventFilterTest, ByKind) {
  EXPECT_THAT(pass({"--kind", "irq,map"}), ElementsAre("2", "3"));
  EXPECT_THAT(pass({"--kind", "digest"}), ElementsAre("-"));
  EXPECT_THAT(pass({"--kind", "irq", "--write"}), ElementsAre());
}

TEST_F(EventFilterTest, ByPosition) {
  EXPECT_THAT(pass({"--from", "3"}), ElementsAre("3", "4", "5"));
  EXPECT_THAT(pass({"--to", "1"}), ElementsAre("0", "1"));
  EXPECT_THAT(pass({"--from", "1", "--to", "2"}), ElementsAre("1", "-", "2"));
  EXPECT_THAT(pass({"--from", "4", "--to", "end"}), ElementsAre("4", "5"));
}

TEST_F(EventFilterTest, ErrorsNameTheWord) {
  EXPECT_EQ(error({"--kind", "irqs"}), "there is no kind 'irqs'");
  EXPECT_EQ(error({"--device", "e1000"}), "there is no device 'e1000'");
  EXPECT_EQ(error({"--gpa", "zero"}), "there is no device 'zero'");
  EXPECT_EQ(error({"--size", "0"}), "--size wants a number of at least 1, not '0'");
  EXPECT_EQ(error({"--value", "1/"}), "'1/' is not a value");
  EXPECT_EQ(error({"--from", "-3"}), "'-3' is not a position");
}

}  // namespace
}  // namespace dejavm::cli
