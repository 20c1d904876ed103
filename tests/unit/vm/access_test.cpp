// Places, conditions, breakpoints on device accesses and the history of accesses.
#include <gmock/gmock.h>

#include "vm/access_breaks.h"
#include "vm/access_history.h"

namespace dejavm::vm {
namespace {

using testing::HasSubstr;

const std::vector<DeviceRegion> kDevices = {{"edu", 0, Space::mmio, 0xfebc0000, 0x100000, 0},
                                            {"serial0", 0, Space::pio, 0x3f8, 8, 0},
                                            {"rtc", 1, Space::pio, 0x72, 2, 2}};

constexpr Access kDoorbell{Space::mmio, Direction::write, 4, 0xfebc0080, 1};
constexpr Access kSerialRead{Space::pio, Direction::read, 1, 0x3fd, 0x60};

const DeviceRegion* region_of(const Access& access) { return find_region(kDevices, access.space, access.addr); }
bool hits(std::string_view place, const Access& access) {
  return parse_place(place, kDevices).value().contains(access, region_of(access));
}

TEST(StopLine, IsTheLineOfTheContract) {
  EXPECT_EQ(stop_line({kDoorbell, 123, 0x1234}, region_of(kDoorbell)),
            "mmio: edu+0x80 <- 0x1 (4 bytes) at 0xfebc0080, rip 0x1234, event 123");
  EXPECT_EQ(stop_line({kSerialRead, 7, std::nullopt}, region_of(kSerialRead)),
            "pio: serial0+0x5 -> 0x60 (1 byte) at 0x3fd, rip unknown, event 7");
  EXPECT_EQ(stop_line({{Space::pio, Direction::write, 2, 0x80, 0xab}, 0, 1}, nullptr),
            "pio: port:0x80 <- 0xab (2 bytes) at 0x80, rip 0x1, event 0");
  EXPECT_EQ(stop_line({{Space::mmio, Direction::read, 8, 0x80, 0xab}, 0, 1}, nullptr),
            "mmio: 0x80 -> 0xab (8 bytes) at 0x80, rip 0x1, event 0");
}

TEST(StopLine, CountsFromTheDevicesOwnOffset) {
  Access access{Space::pio, Direction::write, 1, 0x73, 5};

  EXPECT_THAT(stop_line({access, 0, {}}, region_of(access)), HasSubstr("rtc+0x3 <- 0x5"));
}

TEST(Access, IsDescribedForErrors) {
  EXPECT_EQ(describe(kDoorbell), "mmio write of 4 bytes at 0xfebc0080: 0x1");
  EXPECT_EQ(describe(kSerialRead), "pio read of 1 byte at port 0x3fd");
}

TEST(Place, IsAnAddressARangeAPortADeviceOrAnOffset) {
  EXPECT_TRUE(hits("0xfebc0080", kDoorbell));
  EXPECT_TRUE(hits("0xfebc0083", kDoorbell));  // any byte of it
  EXPECT_FALSE(hits("0xfebc0084", kDoorbell));
  EXPECT_FALSE(hits("0xfebc007f", kDoorbell));
  EXPECT_TRUE(hits("0xfebc0000-0xfebc0080", kDoorbell));
  EXPECT_TRUE(hits("edu", kDoorbell));
  EXPECT_TRUE(hits("edu+0x80", kDoorbell));
  EXPECT_TRUE(hits("edu+0x70-0x80", kDoorbell));
  EXPECT_FALSE(hits("edu+0x84", kDoorbell));
  EXPECT_FALSE(hits("serial0", kDoorbell));
  EXPECT_TRUE(hits("port:0x3f8-0x3ff", kSerialRead));
  EXPECT_FALSE(hits("0x3fd", kSerialRead));  // a guest physical address, not a port
  EXPECT_FALSE(hits("port:0x3f8", kSerialRead));
}

TEST(Place, FollowsADeviceThatMoves) {
  Place place = parse_place("edu+0x80", kDevices).value();
  DeviceRegion moved{"edu", 0, Space::mmio, 0xe0000000, 0x100000, 0};

  EXPECT_TRUE(place.contains({Space::mmio, Direction::write, 4, 0xe0000080, 0}, &moved));
  EXPECT_FALSE(place.contains(kDoorbell, nullptr));
}

TEST(Place, ErrorsSayWhatThereIs) {
  auto unknown = parse_place("e1000", kDevices);
  auto backwards = parse_place("0x20-0x10", kDevices);
  auto port = parse_place("port:x", kDevices);

  EXPECT_EQ(unknown.error().what, "there is no device 'e1000'");
  EXPECT_THAT(unknown.error().next, HasSubstr("edu, rtc, serial0"));
  EXPECT_EQ(unknown.error().kind, ErrorKind::usage);
  EXPECT_EQ(backwards.error().what, "'0x20-0x10' is not an address or a range");
  EXPECT_FALSE(port);
  EXPECT_FALSE(parse_place("", kDevices));
  EXPECT_FALSE(parse_place("edu+", kDevices));
  EXPECT_FALSE(parse_place("0x", kDevices));
}

TEST(Place, TheTopOfTheAddressSpaceIsAPlaceToo) {
  Access top{Space::mmio, Direction::read, 8, UINT64_MAX - 7, 0};

  EXPECT_TRUE(hits("0xffffffffffffffff", top));
  EXPECT_FALSE(hits("0x0", top));
}

TEST(AccessFilter, EverythingThatIsSetMustHold) {
  AccessFilter filter{.places = {parse_place("edu", kDevices).value()}, .direction = Direction::write, .size = 4};
  ASSERT_TRUE(parse_value("0x1/0xf", filter));
  Access other_value = kDoorbell, other_size = kDoorbell, other_direction = kDoorbell, high_bits = kDoorbell;
  other_value.value = 2;
  other_size.size = 2;
  other_direction.direction = Direction::read;
  high_bits.value = 0xf1;

  EXPECT_TRUE(filter.matches(kDoorbell, region_of(kDoorbell)));
  EXPECT_TRUE(filter.matches(high_bits, region_of(high_bits)));
  EXPECT_FALSE(filter.matches(other_value, region_of(other_value)));
  EXPECT_FALSE(filter.matches(other_size, region_of(other_size)));
  EXPECT_FALSE(filter.matches(other_direction, region_of(other_direction)));
  EXPECT_FALSE(filter.matches(kDoorbell, nullptr));
  EXPECT_EQ(describe(filter), "edu w size 4 value 0x1/0xf");
}

TEST(AccessFilter, ValuesThatAreNoneAreRefused) {
  AccessFilter filter;

  for (const char* text : {"", "x", "1/", "1/2/3", "0x1ffffffffffffffff"}) {
    EXPECT_FALSE(parse_value(text, filter)) << text;
  }
  EXPECT_FALSE(filter.value);
}

TEST(AccessBreaks, CountSkipsTheFirstMatches) {
  AccessBreaks breaks;
  breaks.add({.direction = Direction::write}, 2);

  std::vector<bool> stops;
  for (uint64_t event = 0; event < 4; ++event) stops.push_back(breaks.check({kDoorbell, event, {}}, kDevices) != nullptr);

  EXPECT_THAT(stops, testing::ElementsAre(false, false, true, true));
  EXPECT_EQ(breaks.list()[0].hits, 4u);
}

TEST(AccessBreaks, AllMatchesAreCountedAndTheFirstBreakStops) {
  AccessBreaks breaks;
  breaks.add({}, 0);
  breaks.add({}, 0);

  const AccessBreak* hit = breaks.check({kDoorbell, 0, {}}, kDevices);

  EXPECT_EQ(hit->id, 1u);
  EXPECT_EQ(breaks.list()[1].hits, 1u);
}

TEST(AccessBreaks, NumbersAreNeverUsedAgain) {
  AccessBreaks breaks;
  unsigned first = breaks.add({}, 0);
  EXPECT_TRUE(breaks.remove(first));
  EXPECT_FALSE(breaks.remove(first));

  EXPECT_EQ(breaks.add({}, 0), first + 1);
}

TEST(AccessBreaks, APlaceThatIsNotKnownYetIsAskedForUntilItIs) {
  AccessBreaks breaks;
  std::optional<Place> known;
  int asked = 0;
  breaks.add({}, 0, [&] {
    ++asked;
    return known;
  });

  const AccessBreak* before = breaks.check({kDoorbell, 0, {}}, kDevices);
  known = parse_place("edu+0x80", kDevices).value();
  const AccessBreak* after = breaks.check({kDoorbell, 1, {}}, kDevices);
  const AccessBreak* elsewhere = breaks.check({kSerialRead, 2, {}}, kDevices);

  EXPECT_EQ(before, nullptr);
  EXPECT_NE(after, nullptr);
  EXPECT_EQ(elsewhere, nullptr);
  EXPECT_EQ(asked, 2);
}

TEST(AccessHistory, GivesTheByteThatWasTransferredLast) {
  AccessHistory history;
  history.note({{Space::mmio, Direction::write, 4, 0x1000, 0x44332211}, 1, {}});
  history.note({{Space::mmio, Direction::read, 1, 0x1002, 0x99}, 2, {}});
  history.note({{Space::pio, Direction::read, 1, 0x1003, 0x55}, 3, {}});

  EXPECT_EQ(history.mmio_byte(0x1001), 0x22);
  EXPECT_EQ(history.mmio_byte(0x1002), 0x99);
  EXPECT_EQ(history.mmio_byte(0x1003), 0x44);
  EXPECT_EQ(history.mmio_byte(0x1004), std::nullopt);
  EXPECT_EQ(history.mmio_byte(0), std::nullopt);
}

TEST(AccessHistory, FindsTheLatestOfAPlace) {
  AccessHistory history;
  history.note({kDoorbell, 5, {}});
  history.note({kSerialRead, 6, {}});

  EXPECT_EQ(history.latest()->event, 6u);
  EXPECT_EQ(history.latest_in(parse_place("edu", kDevices).value(), kDevices)->event, 5u);
  EXPECT_EQ(history.latest_in(parse_place("rtc", kDevices).value(), kDevices), nullptr);
}

}  // namespace
}  // namespace dejavm::vm
