// Accesses found in a trace without a replay.
#include "replay/access_index.h"

#include "replaying.h"

namespace dejavm::replay {
namespace {

using vm::kDevice;

trace::Event devices_move_to(uint64_t base) {
  trace::MemoryMapEvent map;
  map.memory = {{{0}, vm::kRamSize, 0, true}};
  map.devices = {{"dev", 0, vm::Space::mmio, base, 0x1000, 0}};
  return {map};
}

/// Events 0 to 6; chunks of two events.
class AccessIndexTest : public testing::Test {
 protected:
  void SetUp() override {
    vm::GuestMemory memory = vm::GuestMemory::create(vm::kRamSize, 0).value();
    auto writer = trace::Writer::create(folder_.file("t.dvt"), fake_description(), memory, {.chunk_events = 2}).value();
    for (const trace::Event& event :
         {mmio_read(kDevice, 1), mmio_write(kDevice + 8, 2), mmio_read(kDevice, 3), dma(0x100, {1}),
          devices_move_to(kDevice + 0x8000), mmio_read(kDevice + 0x8000, 4), mmio_write(kDevice, 5, 8)}) {
      ASSERT_TRUE(writer->append(event));
    }
    ASSERT_TRUE(writer->finish(dead_end()));
    reader_ = trace::Reader::open(folder_.file("t.dvt")).value();
    index_.emplace(*reader_);
  }

  vm::AccessFilter filter(const std::string& place) const {
    vm::AccessFilter filter;
    filter.places = {vm::parse_place(place, reader_->description().devices).value()};
    return filter;
  }
  std::optional<uint64_t> last(const vm::AccessFilter& filter, uint64_t before) {
    auto found = index_->last({&filter, 1}, before).value();
    return found ? std::optional(found->seen.event) : std::nullopt;
  }
  std::optional<uint64_t> first(const vm::AccessFilter& filter, uint64_t from) {
    auto found = index_->first({&filter, 1}, from).value();
    return found ? std::optional(found->seen.event) : std::nullopt;
  }

  TempFolder folder_;
  std::unique_ptr<trace::Reader> reader_;
  std::optional<AccessIndex> index_;
};

TEST_F(AccessIndexTest, TheLastBeforeAnEvent) {
  vm::AccessFilter at = filter(fmt::format("{:#x}", kDevice));

  EXPECT_EQ(last(at, 100), 6u);
  EXPECT_EQ(last(at, 6), 2u);
  EXPECT_EQ(last(at, 2), 0u);
  EXPECT_EQ(last(at, 0), std::nullopt);
}

TEST_F(AccessIndexTest, TheFirstFromAnEventOn) {
  vm::AccessFilter at = filter(fmt::format("{:#x}", kDevice));

  EXPECT_EQ(first(at, 0), 0u);
  EXPECT_EQ(first(at, 1), 2u);
  EXPECT_EQ(first(at, 3), 6u);
  EXPECT_EQ(first(at, 7), std::nullopt);
}

TEST_F(AccessIndexTest, ADeviceIsWhereItWasThen) {
  vm::AccessFilter at = filter("dev+0x0");

  EXPECT_EQ(last(at, 100), 5u) << "event 6 is at the device's old place";
  EXPECT_EQ(last(at, 5), 2u);
  EXPECT_EQ(first(at, 3), 5u);
}

TEST_F(AccessIndexTest, DirectionAndValueCount) {
  vm::AccessFilter reads = filter(fmt::format("{:#x}", kDevice));
  reads.direction = vm::Direction::read;
  vm::AccessFilter ones = reads;
  ones.value = 1;

  EXPECT_EQ(last(reads, 100), 2u);
  EXPECT_EQ(last(ones, 100), 0u);
}

TEST_F(AccessIndexTest, AWideAccessCoversWhatItReaches) {
  EXPECT_EQ(last(filter(fmt::format("{:#x}", kDevice + 7)), 100), 6u);
  EXPECT_EQ(last(filter(fmt::format("{:#x}", kDevice + 7)), 6), std::nullopt);
}

TEST_F(AccessIndexTest, OneOfSeveralFiltersIsNamed) {
  std::vector<vm::AccessFilter> filters = {filter("dev+0x100"), filter("dev+0x8")};

  auto found = index_->last(filters, 100).value();

  ASSERT_TRUE(found);
  EXPECT_EQ(found->seen.event, 1u);
  EXPECT_EQ(found->filter, 1u);
  EXPECT_EQ(found->seen.access.value, 2u);
}

TEST_F(AccessIndexTest, NoFilterFindsNothing) {
  EXPECT_FALSE(index_->last({}, 100).value());
  EXPECT_FALSE(index_->first({}, 0).value());
}

TEST(AccessIndex, ATraceThatMovesMoreDevicesThanAnyMachineHasIsRefused) {
  TempFolder folder;
  vm::GuestMemory memory = vm::GuestMemory::create(vm::kRamSize, 0).value();
  auto writer = trace::Writer::create(folder.file("t.dvt"), fake_description(), memory, {}).value();
  for (uint64_t i = 0; i < 600; ++i) {
    trace::Event event = devices_move_to(kDevice + i % 2 * 0x8000);
    auto& map = std::get<trace::MemoryMapEvent>(event.body);
    map.devices.resize(2000, map.devices.front());
    ASSERT_TRUE(writer->append(event));
  }
  ASSERT_TRUE(writer->finish(dead_end()));
  auto reader = trace::Reader::open(folder.file("t.dvt")).value();
  AccessIndex index(*reader);
  vm::AccessFilter filter;
  filter.places = {{.space = vm::Space::mmio, .first = kDevice, .last = kDevice}};

  auto found = index.last({&filter, 1}, 1);

  ASSERT_FALSE(found.has_value());
  EXPECT_NE(found.error().what.find("moves its devices too often"), std::string::npos) << found.error().what;
}

}  // namespace
}  // namespace dejavm::replay
