#include "devices/virtio_blk.h"

#include <numeric>

#include "virtio_fakes.h"

namespace dejavm::devices {
namespace {

constexpr uint64_t kFlushFeature = uint64_t{1} << 9;

class VirtioBlkTest : public testing::Test, public VirtioFixture {
 protected:
  static constexpr uint64_t kHeader = 0x4000, kData = 0x5000, kStatus = 0x8000;

  VirtioBlkTest() {
    disk.bytes.resize(16 * 512);
    std::iota(disk.bytes.begin(), disk.bytes.end(), uint8_t{3});
    place(blk);
    start(kVersion1 | kFlushFeature);
  }

  /// A request of a header, data and a status; what the status says, 0xff where it is not written.
  uint8_t request(uint32_t type, uint64_t sector, uint32_t size, bool to_guest) {
    uint8_t header[16] = {};
    store_le(header, type);
    store_le(header + 8, sector);
    poke(kHeader, header);
    describe(kTable, 0, {kHeader, 16, kNext, static_cast<uint16_t>(size > 0 ? 1 : 2)});
    describe(kTable, 1, {kData, size, static_cast<uint16_t>(to_guest ? kNext | kWritable : kNext), 2});
    describe(kTable, 2, {kStatus, 1, kWritable, 0});
    const uint8_t unwritten[] = {0xff};
    poke(kStatus, unwritten);
    offer(0);
    return peek(kStatus, 1)[0];
  }
  void clear_range(uint64_t sector, uint32_t sectors, uint32_t flags) {
    uint8_t range[16];
    store_le(range, sector);
    store_le(range + 8, sectors);
    store_le(range + 12, flags);
    poke(kData, range);
  }

  FakeDisk disk{Bytes(16 * 512)};
  VirtioBlk blk{"virtio-blk", board(), devfn(2, 0), std::make_unique<FakeStore>(disk, false), "a serial number"};
};

TEST_F(VirtioBlkTest, IdentifiesLikeQemus) {
  EXPECT_EQ(blk.config_read(0x00, 4), 0x10421af4u);
  EXPECT_EQ(blk.config_read(0x08, 4), 0x01000001u);
  store(kBar, 0, 4);
  EXPECT_EQ(load(kBar + 4, 4), 0x30006e54u);
  EXPECT_EQ(load(kBar + 0x2000, 8), 16u);
  EXPECT_EQ(load(kBar + 0x200c, 4), 254u);
  EXPECT_EQ(load(kBar + 0x2014, 4), 512u);
  EXPECT_EQ(load(kBar + 0x2024, 4), 0x3fffffu);
  EXPECT_EQ(load(kBar + 0x18, 2), 8u) << "what the driver chose";
}

TEST_F(VirtioBlkTest, ReadsSectors) {
  EXPECT_EQ(request(0, 2, 1024, true), 0);
  EXPECT_EQ(peek(kData, 1024), Bytes(disk.bytes.begin() + 1024, disk.bytes.begin() + 2048));
  EXPECT_EQ(used_length(), 1025u);
}

TEST_F(VirtioBlkTest, WritesSectors) {
  poke(kData, Bytes(512, 0x77));
  EXPECT_EQ(request(1, 15, 512, false), 0);
  EXPECT_EQ(disk.bytes[15 * 512], 0x77);
  EXPECT_EQ(used_length(), 1u);
  EXPECT_EQ(disk.flushes, 0);
}

TEST_F(VirtioBlkTest, StatusMayShareTheLastBuffer) {
  request(0, 0, 512, true);
  describe(kTable, 0, {kHeader, 16, kNext, 1});
  describe(kTable, 1, {kData, 513, kWritable, 0});
  poke(kData, Bytes(513, 0xee));
  offer(0);
  EXPECT_EQ(peek(kData + 512, 1)[0], 0);
  EXPECT_EQ(peek(kData + 511, 1)[0], disk.bytes[511]);
}

TEST_F(VirtioBlkTest, FlushesAndIdentifies) {
  EXPECT_EQ(request(4, 0, 0, false), 0);
  EXPECT_EQ(disk.flushes, 1);
  EXPECT_EQ(request(8, 0, 20, true), 0);
  Bytes id = peek(kData, 20);
  EXPECT_STREQ(reinterpret_cast<const char*>(id.data()), "a serial number");
}

TEST_F(VirtioBlkTest, UnknownRequestsAreUnsupported) {
  EXPECT_EQ(request(2, 0, 512, true), 2);
  EXPECT_EQ(request(0x12345678, 0, 512, true), 2);
}

TEST_F(VirtioBlkTest, WhatIsOutsideIsAnIoError) {
  EXPECT_EQ(request(0, 16, 512, true), 1);
  EXPECT_EQ(request(0, 15, 1024, true), 1);
  EXPECT_EQ(request(0, UINT64_MAX, 512, true), 1);
  EXPECT_EQ(request(0, uint64_t{1} << 55, 512, true), 1);
  EXPECT_EQ(request(0, 0, 511, true), 1);
  EXPECT_EQ(request(1, 0, 0xffffffff, false), 1);
  EXPECT_FALSE(needs_reset());
}

TEST_F(VirtioBlkTest, HostErrorsAreIoErrors) {
  disk.fails = true;
  EXPECT_EQ(request(0, 0, 512, true), 1);
  EXPECT_EQ(request(1, 0, 512, false), 1);
  EXPECT_EQ(request(4, 0, 0, false), 1);
}

TEST_F(VirtioBlkTest, BuffersThatAreNoMemoryAreIoErrors) {
  request(0, 0, 512, true);
  describe(kTable, 1, {UINT64_MAX - 10, 512, kNext | kWritable, 2});
  poke(kStatus, Bytes{0xff});
  offer(0);
  EXPECT_EQ(peek(kStatus, 1)[0], 1);
}

TEST_F(VirtioBlkTest, WritesZeroesAndIgnoresDiscards) {
  clear_range(1, 2, 0);
  EXPECT_EQ(request(11, 0, 16, false), 0);
  EXPECT_NE(disk.bytes[512], 0);
  EXPECT_EQ(request(13, 0, 16, false), 0);
  EXPECT_EQ(disk.bytes[512], 0);
  EXPECT_NE(disk.bytes[511], 0);
  EXPECT_NE(disk.bytes[3 * 512 + 1], 0);
  clear_range(15, 2, 0);
  EXPECT_EQ(request(13, 0, 16, false), 1);
  clear_range(0, 0xffffffff, 0);
  EXPECT_EQ(request(13, 0, 16, false), 1);
  clear_range(0, 1, 2);
  EXPECT_EQ(request(13, 0, 16, false), 2);
}

TEST_F(VirtioBlkTest, ShortHeaderIsMalformed) {
  describe(kTable, 0, {kHeader, 15, kNext, 1});
  describe(kTable, 1, {kStatus, 1, kWritable, 0});
  offer(0);
  EXPECT_TRUE(needs_reset());
}

TEST_F(VirtioBlkTest, RequestWithoutStatusIsMalformed) {
  describe(kTable, 0, {kHeader, 16, 0, 0});
  offer(0);
  EXPECT_TRUE(needs_reset());
}

class ReadOnlyBlkTest : public VirtioBlkTest {
 protected:
  ReadOnlyBlkTest() {
    blk.config_write(0x04, 2, 0);
    blk.unmap_stale_windows();
    place(read_only);
    offered = 0;
    start(kVersion1);
  }
  VirtioBlk read_only{"virtio-blk-1", board(), devfn(3, 0), std::make_unique<FakeStore>(disk, true), ""};
};

TEST_F(ReadOnlyBlkTest, RefusesWrites) {
  Bytes before = disk.bytes;
  store(kBar, 0, 4);
  EXPECT_EQ(load(kBar + 4, 4), 0x30006e74u);
  EXPECT_EQ(request(1, 0, 512, false), 1);
  clear_range(0, 1, 0);
  EXPECT_EQ(request(13, 0, 16, false), 1);
  EXPECT_EQ(request(0, 0, 512, true), 0);
  EXPECT_EQ(disk.bytes, before);
}

}  // namespace
}  // namespace dejavm::devices
