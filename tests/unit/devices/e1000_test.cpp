// Registers, EEPROM, PHY and interrupts. Expected values were read from QEMU 7.2's -device e1000.
#include "e1000_fixture.h"

namespace dejavm::devices {
namespace {

constexpr uint32_t kIcr = 0xc0, kItr = 0xc4, kIcs = 0xc8, kIms = 0xd0, kImc = 0xd8;

TEST_F(E1000Test, Identifies) {
  EXPECT_EQ(card.config_read(0x00, 4), 0x100e8086u);
  EXPECT_EQ(card.config_read(0x08, 4), 0x02000003u);
  EXPECT_EQ(card.config_read(0x2c, 4), 0x11001af4u);
  EXPECT_EQ(card.config_read(0x3d, 1), 1u);
}

TEST_F(E1000Test, RegistersHaveTheirValuesAfterReset) {
  EXPECT_EQ(get(0x0000), 0x00140240u);
  EXPECT_EQ(get(0x0008), 0x80080783u);
  EXPECT_EQ(get(0x0010), 0x188u);
  EXPECT_EQ(get(0x0038), 0x8100u);
  EXPECT_EQ(get(0x1000), 0x00100030u);
  EXPECT_EQ(get(0x5400), 0x12005452u);
  EXPECT_EQ(get(0x5404), 0x80005634u);
}

TEST_F(E1000Test, RegistersKeepOnlyTheirBits) {
  set(0x2808, 0xffffffff);
  set(0x3818, 0xffffffff);
  set(0x2410, 0xffffffff);
  set(0x0008, 0);
  set(0x0410, 0xffffffff);

  EXPECT_EQ(get(0x2808), 0xfff80u);
  EXPECT_EQ(get(0x3818), 0xffffu);
  EXPECT_EQ(get(0x2410), 0x1fffu);
  EXPECT_EQ(get(0x0008), 0x80080783u) << "STATUS is read-only";
  EXPECT_EQ(get(0x0410), 0u);
}

TEST_F(E1000Test, SmallerAccessesAreWidened) {
  EXPECT_EQ(load(kBar + 8, 1), 0x83u);
  EXPECT_EQ(load(kBar + 10, 1), 0x83u);
  EXPECT_EQ(load(kBar + 10, 2), 0x0783u);
  set(0x38, 0xaabbccdd);
  store(kBar + 0x3a, 0x1122, 2);
  EXPECT_EQ(get(0x38), 0x1122u);
}

TEST_F(E1000Test, BeyondTheRegistersIsNothing) {
  set(0x1fffc, 5);
  EXPECT_EQ(get(0x1fffc), 0u);
  EXPECT_EQ(get(0x6000), 0u);
}

TEST_F(E1000Test, PortsReachTheRegisters) {
  out(kPorts, 0x38, 4);
  out(kPorts + 4, 0x1234, 4);
  EXPECT_EQ(get(0x38), 0x1234u);
  out(kPorts, 0x0008, 4);
  EXPECT_EQ(in(kPorts + 4, 4), 0x80080783u);
  out(kPorts, 0xffffffff, 4);
  EXPECT_EQ(in(kPorts + 4, 4), 0u);
}

TEST_F(E1000Test, EepromReadRegisterGivesWordsThatSumUp) {
  uint32_t sum = 0;
  for (uint32_t word = 0; word < 64; ++word) {
    set(0x14, word << 8 | 1);
    EXPECT_EQ(get(0x14) & 0x11, 0x10u);
    sum += get(0x14) >> 16;
  }
  EXPECT_EQ(sum & 0xffff, 0xbabau);
  set(0x14, 1);
  EXPECT_EQ(get(0x14) >> 16, 0x5452u);
  set(0x14, 0x3f01);
  EXPECT_EQ(get(0x14), 0x79ad3f10u);
}

TEST_F(E1000Test, EepromIsReadBitByBit) {
  auto clock_in = [this](uint32_t bits, int count) {
    for (int i = count - 1; i >= 0; --i) {
      uint32_t data = (bits >> i & 1) != 0 ? 4 : 0;
      for (uint32_t level : {0, 1, 0}) set(0x10, 2 | data | level);
    }
  };
  auto clock_out = [this] {
    uint32_t word = 0;
    for (int i = 0; i < 16; ++i) {
      set(0x10, 3);
      word = word << 1 | (get(0x10) >> 3 & 1);
      set(0x10, 2);
    }
    return word;
  };
  set(0x10, 2);
  clock_in(6, 3);   // read
  clock_in(62, 6);  // word 62

  EXPECT_EQ(clock_out(), 0xffffu);
  EXPECT_EQ(clock_out(), 0x79adu) << "the next word follows";
  EXPECT_EQ(clock_out(), 0x5452u) << "and the first one that";
  set(0x10, 0);
}

TEST_F(E1000Test, PhyAnswersAtAddressOne) {
  set(0x20, 1u << 27 | 1u << 21 | 2u << 16);
  EXPECT_EQ(get(0x20), 0x18220141u);
  set(0x20, 1u << 27 | 1u << 21 | 7u << 16);
  EXPECT_EQ(get(0x20), 0x58270000u) << "no such register";
  set(0x20, 1u << 27 | 2u << 21 | 2u << 16);
  EXPECT_NE(get(0x20) & 1u << 30, 0u) << "no such PHY";
}

TEST_F(E1000Test, NegotiationTakesTheLinkDownForHalfASecond) {
  set(kIms, 1u << 2);
  set(0x20, 1u << 26 | 1u << 21 | 0x1340);
  EXPECT_EQ(get(0x08) & 2, 0u);
  EXPECT_FALSE(irq.level);

  advance(500'000'000);

  EXPECT_NE(get(0x08) & 2, 0u);
  EXPECT_TRUE(irq.level);
  set(0x20, 1u << 27 | 1u << 21 | 1u << 16);
  EXPECT_EQ(get(0x20) & 0x24, 0x24u) << "link and negotiation complete";
}

TEST_F(E1000Test, ReadingTheCauseClearsIt) {
  set(kIms, 0x80);
  set(kIcs, 0x81);
  EXPECT_TRUE(irq.level);
  EXPECT_EQ(get(kIcr), 0x81u);
  EXPECT_FALSE(irq.level);
  EXPECT_EQ(get(kIcr), 0u);
}

TEST_F(E1000Test, MaskGatesTheLine) {
  set(kIcs, 0x80);
  EXPECT_FALSE(irq.level);
  set(kIms, 0x80);
  EXPECT_TRUE(irq.level);
  set(kImc, 0x80);
  EXPECT_FALSE(irq.level);
  EXPECT_EQ(get(kIms), 0u);
}

TEST_F(E1000Test, InterruptsAreThrottled) {
  set(kIms, 0x80);
  set(kItr, 2000);  // 512 us
  set(kIcs, 0x80);
  get(kIcr);
  set(kIcs, 0x80);
  EXPECT_EQ(irq.rises, 1);

  advance(511'999);
  EXPECT_EQ(irq.rises, 1);
  advance(1);
  EXPECT_EQ(irq.rises, 2);
}

TEST_F(E1000Test, SoftwareResetForgetsRingsAndMask) {
  start_transmitter();
  set(kIms, 0xff);
  set(0x5400, 1);

  set(0x0000, 1u << 26);

  EXPECT_EQ(get(0x3808), 0u);
  EXPECT_EQ(get(kIms), 0u);
  EXPECT_EQ(get(0x5400), 0x12005452u);
  EXPECT_EQ(get(0x0000), 0x00140240u);
}

TEST_F(E1000Test, RomIsThereWhileItIsEnabled) {
  card.config_write(0x30, 4, 0xffffffff);
  EXPECT_EQ(card.config_read(0x30, 4), 0xfffff001u);
  unsigned before = rom_moves;

  card.config_write(0x30, 4, 0xfeb00001);

  EXPECT_EQ(rom_moves, before + 1);
  EXPECT_EQ(card.rom_base(), 0xfeb00000u);
  card.config_write(0x30, 4, 0xfeb00000);
  EXPECT_EQ(card.rom_base(), std::nullopt);
  card.config_write(0x30, 4, 0xfeb00001);
  card.config_write(0x04, 2, 0x05);
  EXPECT_EQ(card.rom_base(), std::nullopt);
}

}  // namespace
}  // namespace dejavm::devices
