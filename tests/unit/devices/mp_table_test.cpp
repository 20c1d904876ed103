#include "devices/mp_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

namespace dejavm::devices {
namespace {

using testing::ElementsAreArray;

constexpr uint32_t kPlace = 0xf0020;

class MpTableTest : public testing::Test {
 protected:
  Bytes bytes = mp_table(
      kPlace, {.cpu_signature = 0x0fb10314, .cpu_features = 0x078bfbfd, .pci = {{1, 0, 9}, {2, 0, 10}, {3, 0, 11}}});
  ByteSpan table = ByteSpan(bytes).subspan(16);
};

TEST_F(MpTableTest, PointerLeadsToTheTable) {
  EXPECT_EQ(std::string(bytes.begin(), bytes.begin() + 4), "_MP_");
  EXPECT_EQ(load_le<uint32_t>(&bytes[4]), kPlace + 16);
  EXPECT_EQ(bytes[8], 1);
  EXPECT_EQ(bytes[9], 4);
  EXPECT_EQ(std::accumulate(bytes.begin(), bytes.begin() + 16, 0u) & 0xff, 0u);
  EXPECT_EQ(std::string(table.begin(), table.begin() + 4), "PCMP");
  EXPECT_EQ(load_le<uint16_t>(&table[4]), table.size());
  EXPECT_EQ(std::accumulate(table.begin(), table.end(), 0u) & 0xff, 0u);
}

// The table that SeaBIOS 1.16 makes on QEMU 7.2, with functions in the slots 2 and 3.
TEST_F(MpTableTest, EntriesAreSeabioss) {
  constexpr uint8_t kEntries[] = {
      0, 0, 0x14, 3,   0x14, 3,    0xb1, 0x0f, 0xfd, 0xfb, 0x8b, 7, 0, 0, 0, 0, 0, 0, 0, 0,  // processor
      1, 0, 'P',  'C', 'I',  ' ',  ' ',  ' ',                                                //
      1, 1, 'I',  'S', 'A',  ' ',  ' ',  ' ',                                                //
      2, 0, 0x11, 1,   0,    0,    0xc0, 0xfe,                                               // I/O APIC
      3, 0, 1,    0,   0,    0x04, 0,    9,                                                  // PCI
      3, 0, 1,    0,   0,    0x08, 0,    10,                                                 //
      3, 0, 1,    0,   0,    0x0c, 0,    11,                                                 //
      3, 0, 0,    0,   1,    0,    0,    2,                                                  // ISA
      3, 0, 0,    0,   1,    1,    0,    1,                                                  //
      3, 0, 0,    0,   1,    3,    0,    3,                                                  //
      3, 0, 0,    0,   1,    4,    0,    4,                                                  //
      3, 0, 0,    0,   1,    6,    0,    6,                                                  //
      3, 0, 0,    0,   1,    7,    0,    7,                                                  //
      3, 0, 0,    0,   1,    8,    0,    8,                                                  //
      3, 0, 0,    0,   1,    12,   0,    12,                                                 //
      3, 0, 0,    0,   1,    13,   0,    13,                                                 //
      3, 0, 0,    0,   1,    14,   0,    14,                                                 //
      3, 0, 0,    0,   1,    15,   0,    15,                                                 //
      4, 3, 0,    0,   1,    0,    0,    0,                                                  // LINT0: the 8259s
      4, 1, 0,    0,   1,    0,    0xff, 1,                                                  // LINT1: NMI
  };

  EXPECT_THAT(table.subspan(44), ElementsAreArray(kEntries));
  EXPECT_EQ(load_le<uint16_t>(&table[34]), 20u);
}

}  // namespace
}  // namespace dejavm::devices
