// Transmission, reception, and rings that no driver would make.
#include "e1000_fixture.h"

namespace dejavm::devices {
namespace {

constexpr uint64_t kEndOfPacket = 1u << 24, kReportStatus = 1u << 27, kExtended = 1u << 29, kData = 1u << 20;
constexpr uint64_t kSegment = 1u << 26, kVlan = 1u << 30;
constexpr uint32_t kReceive = 1u << 1, kPromiscuous = 1u << 3, kBroadcasts = 1u << 15;
constexpr uint32_t kIcr = 0xc0;

uint16_t be16(const Bytes& bytes, size_t at) { return static_cast<uint16_t>(bytes[at] << 8 | bytes[at + 1]); }

TEST_F(E1000Test, SendsAFrameOfTwoBuffers) {
  Bytes packet = frame(kBroadcast, 100);
  put(kTxData, packet);
  put_descriptor(kTxRing, 0, kTxData, 40);
  put_descriptor(kTxRing, 1, kTxData + 40, 60 | kEndOfPacket | kReportStatus);
  start_transmitter();

  store(kBar + 0x3818, 2, 4);
  EXPECT_TRUE(sent.empty()) << "no memory is touched inside the access";
  deferred.run();

  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0], packet);
  EXPECT_EQ(get(0x3810), 2u);
  EXPECT_EQ(ram(kTxRing + 16 + 12, 1)[0], 1) << "done";
  EXPECT_EQ(ram(kTxRing + 12, 1)[0], 0) << "no report was asked for";
  EXPECT_EQ(get(kIcr), 3u);
  EXPECT_EQ(get(0x4080), 1u) << "GPTC";
  EXPECT_EQ(get(0x4080), 0u) << "cleared by reading";
}

TEST_F(E1000Test, InsertsAVlanTag) {
  put(kTxData, frame(kBroadcast, 60));
  put_descriptor(kTxRing, 0, kTxData, 60 | kEndOfPacket | kVlan | uint64_t{0x2005} << 48);
  set(0, 1u << 30);
  start_transmitter();

  set(0x3818, 1);

  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].size(), 64u);
  EXPECT_EQ(be16(sent[0], 12), 0x8100);
  EXPECT_EQ(be16(sent[0], 14), 0x2005);
  EXPECT_EQ(be16(sent[0], 16), 0x0800);
}

TEST_F(E1000Test, InsertsChecksums) {
  Bytes packet = frame(kBroadcast, 64);
  std::fill(packet.begin() + 14, packet.end(), uint8_t{0});
  packet[14] = 0x45;
  packet[40] = 0x12;
  put(kTxData, packet);
  put_descriptor(kTxRing, 0, 14 | 24 << 8 | 33 << 16 | uint64_t{34} << 32 | uint64_t{50} << 40, kExtended);
  put_descriptor(kTxRing, 1, kTxData, 64 | kEndOfPacket | kExtended | kData | uint64_t{3} << 40);
  start_transmitter();

  set(0x3818, 2);

  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(be16(sent[0], 24), 0xbaff);  // ~0x4500
  EXPECT_EQ(be16(sent[0], 50), 0xedff);  // ~0x1200
}

TEST_F(E1000Test, SegmentsTcp) {
  Bytes packet = frame(kBroadcast, 54 + 250);
  std::fill(packet.begin() + 14, packet.begin() + 54, uint8_t{0});
  packet[14] = 0x45;
  packet[19] = 7;     // identification
  packet[41] = 10;    // sequence number
  packet[47] = 0x19;  // ACK, PSH, FIN
  put(kTxData, packet);
  uint64_t tucmd = kExtended | kSegment | 1u << 24 | 1u << 25;
  put_descriptor(kTxRing, 0, 14 | 24 << 8 | 33 << 16 | uint64_t{34} << 32 | uint64_t{50} << 40,
                 250 | tucmd | uint64_t{54} << 40 | uint64_t{100} << 48);
  put_descriptor(kTxRing, 1, kTxData, 304 | kEndOfPacket | kExtended | kData | kSegment | uint64_t{3} << 40);
  start_transmitter();

  set(0x3818, 2);

  ASSERT_EQ(sent.size(), 3u);
  EXPECT_EQ(sent[0].size(), 154u);
  EXPECT_EQ(sent[2].size(), 104u);
  EXPECT_EQ(be16(sent[2], 16), 90) << "the IP packet's length";
  EXPECT_EQ(be16(sent[2], 18), 9) << "its identification";
  EXPECT_EQ(be16(sent[2], 40), 210) << "the sequence number";
  EXPECT_EQ(sent[1][47], 0x10) << "only the last one has PSH and FIN";
  EXPECT_EQ(sent[2][47], 0x19);
  EXPECT_TRUE(std::equal(sent[1].begin() + 54, sent[1].end(), packet.begin() + 154));
  uint32_t sum = 0;
  for (size_t i = 14; i < 34; i += 2) sum += be16(sent[1], i);
  EXPECT_EQ((sum & 0xffff) + (sum >> 16), 0xffffu) << "the IP header's checksum";
}

TEST_F(E1000Test, ReceivesIntoTheRing) {
  Bytes packet = frame(kOwn, 80);
  start_receiver(kReceive);
  ASSERT_TRUE(card.ready());

  card.receive(packet);

  EXPECT_EQ(ram(kRxData, 80), packet);
  Bytes descriptor = ram(kRxRing, 16);
  EXPECT_EQ(load_le<uint16_t>(&descriptor[8]), 84) << "with the check sequence";
  EXPECT_EQ(descriptor[12], 7) << "done, end of packet, checksums not looked at";
  EXPECT_EQ(get(0x2810), 1u);
  EXPECT_EQ(get(kIcr) & 0x80, 0x80u);
  EXPECT_EQ(get(0x4074), 1u) << "GPRC";
}

TEST_F(E1000Test, FiltersByAddress) {
  start_receiver(kReceive);
  card.receive(frame({0x52, 0x54, 0, 1, 2, 3}, 60));
  card.receive(frame(kBroadcast, 60));
  card.receive(frame({0x33, 0x33, 0, 0, 0x12, 0x34}, 60));
  EXPECT_EQ(get(0x2810), 0u);

  unsigned hash = 0x3412 >> 4 & 0xfff;
  set(0x5200 + 4 * (hash / 32), 1u << hash % 32);
  card.receive(frame({0x33, 0x33, 0, 0, 0x12, 0x34}, 60));
  EXPECT_EQ(get(0x2810), 1u);
  set(0x0100, kReceive | kBroadcasts | kPromiscuous);
  card.receive(frame(kBroadcast, 60));
  card.receive(frame({0x52, 0x54, 0, 1, 2, 3}, 60));
  EXPECT_EQ(get(0x2810), 3u);
}

TEST_F(E1000Test, FiltersAndStripsVlans) {
  Bytes packet = frame(kOwn, 64, 0x8100);
  packet[14] = 0x20;
  packet[15] = 0x05;
  set(0, 1u << 30);
  start_receiver(kReceive | 1u << 18);
  card.receive(packet);
  EXPECT_EQ(get(0x2810), 0u) << "VLAN 5 is not in the table";

  set(0x5600, 1u << 5);
  card.receive(packet);

  Bytes descriptor = ram(kRxRing, 16);
  EXPECT_EQ(load_le<uint16_t>(&descriptor[8]), 64);
  EXPECT_EQ(descriptor[12] & 8, 8) << "a VLAN packet";
  EXPECT_EQ(load_le<uint16_t>(&descriptor[14]), 0x2005);
  EXPECT_EQ(ram(kRxData + 12, 4), Bytes(packet.begin() + 16, packet.begin() + 20));
}

TEST_F(E1000Test, AFullRingMakesFramesWait) {
  start_receiver(kReceive, 1);
  EXPECT_TRUE(card.ready());
  card.receive(frame(kOwn, 60));
  EXPECT_FALSE(card.ready());
  card.receive(frame(kOwn, 60));
  EXPECT_EQ(get(0x40a0), 1u) << "RNBC";
  set(0x2818, 3);
  EXPECT_TRUE(card.ready());
}

TEST_F(E1000Test, ALongFrameTakesSeveralBuffers) {
  Bytes packet = frame(kOwn, 600);
  start_receiver(kReceive | 3u << 16);  // buffers of 256 bytes

  card.receive(packet);

  EXPECT_EQ(get(0x2810), 3u);
  EXPECT_EQ(ram(kRxData + 0x800, 256), Bytes(packet.begin() + 256, packet.begin() + 512));
  EXPECT_EQ(ram(kRxRing + 12, 1)[0] & 3, 1);
  EXPECT_EQ(ram(kRxRing + 32 + 12, 1)[0] & 3, 3);
}

TEST_F(E1000Test, LoopbackInThePhyReturnsFrames) {
  Bytes packet = frame(kOwn, 60);
  put(kTxData, packet);
  put_descriptor(kTxRing, 0, kTxData, 60 | kEndOfPacket);
  start_receiver(kReceive);
  start_transmitter();
  set(0x20, 1u << 26 | 1u << 21 | 0x4140);

  set(0x3818, 1);

  EXPECT_TRUE(sent.empty());
  EXPECT_EQ(ram(kRxData, 60), packet);
}

TEST_F(E1000Test, NoBusMasterNoDma) {
  start_receiver(kReceive);
  start_transmitter();
  put_descriptor(kTxRing, 0, kTxData, 60 | kEndOfPacket | kReportStatus);
  card.config_write(4, 2, 3);
  set(0x3818, 1);
  EXPECT_FALSE(card.ready());
  card.receive(frame(kOwn, 60));
  EXPECT_EQ(get(0x3810), 0u);
  EXPECT_EQ(get(0x2810), 0u);

  card.config_write(4, 2, 7);
  deferred.run();

  EXPECT_EQ(get(0x3810), 1u) << "what waited is sent";
}

TEST_F(E1000Test, ATailOutsideTheRingEndsAfterOneRound) {
  start_transmitter();
  set(0x3818, 0xffff);
  EXPECT_EQ(get(0x3810), 0u);
  set(0x3808, 0);
  set(0x3818, 5);
  set(0x3810, 0xfff0);
  set(0x3818, 3);
  EXPECT_LE(get(0x3810), 0xffffu);
}

TEST_F(E1000Test, RingsAndBuffersOutsideMemoryAreHarmless) {
  start_receiver(kReceive | kPromiscuous);
  for (uint32_t high : {0u, 0xffffffffu}) {
    set(0x2800, 0xfffffff0);
    set(0x2804, high);
    set(0x3800, 0xfffffff0);
    set(0x3804, high);
    set(0x3808, kRingBytes);
    set(0x0400, 2);
    set(0x3818, (get(0x3810) + 3) & 7);
    card.receive(frame(kOwn, 1500));
  }
  put_descriptor(kTxRing, 0, UINT64_MAX - 8, 0xffff | kEndOfPacket);
  set(0x3804, 0);
  set(0x3810, 0);
  start_transmitter();
  set(0x3818, 1);
  EXPECT_EQ(get(0x3810), 1u);
}

TEST_F(E1000Test, LongWorkIsDoneInPieces) {
  for (unsigned i = 0; i < 8; ++i) put_descriptor(kTxRing, i, 0, 0xfffff | kExtended | kData | kSegment | kEndOfPacket);
  start_transmitter();

  set(0x3818, 7);
  EXPECT_EQ(get(0x3810), 1u) << "a megabyte is more than one go takes";
  for (int i = 0; i < 6; ++i) advance(10'000);

  EXPECT_EQ(get(0x3810), 7u);
}

TEST_F(E1000Test, NonsenseInContextsIsHarmless) {
  put(kTxData, frame(kBroadcast, 60));
  put_descriptor(kTxRing, 0, UINT64_MAX, 0xfffff | kExtended | kSegment | 3u << 24 | uint64_t{0xffff10ff} << 32);
  put_descriptor(kTxRing, 1, kTxData, 60 | kEndOfPacket | kExtended | kData | kSegment | uint64_t{3} << 40);
  put_descriptor(kTxRing, 2, kTxData, 13 | kEndOfPacket);
  start_transmitter();

  set(0x3818, 3);

  EXPECT_EQ(get(0x3810), 3u);
  EXPECT_EQ(sent.size(), 1u) << "a frame without a header is not one";
}

}  // namespace
}  // namespace dejavm::devices
