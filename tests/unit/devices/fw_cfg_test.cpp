#include "devices/fw_cfg.h"

#include <gtest/gtest.h>

#include "fakes.h"

namespace dejavm::devices {
namespace {

class FwCfgTest : public testing::Test, public DeviceFixture {
 protected:
  FwCfgTest() { EXPECT_TRUE(fw_cfg.attach(bus).has_value()); }

  Bytes item(unsigned selector, size_t size) {
    out(0x510, selector, 2);
    Bytes bytes;
    while (bytes.size() < size) bytes.push_back(static_cast<uint8_t>(in(0x511)));
    return bytes;
  }

  static constexpr FwCfgConfig kConfig{.ram_below_4g = 64 << 20, .ram_above_4g = 4096, .cpus = 1};
  FwCfg fw_cfg{pc_fw_cfg_items(kConfig), pc_fw_cfg_files(kConfig)};
};

TEST_F(FwCfgTest, SignatureAndInterfaceWithoutDma) {
  EXPECT_EQ(item(0, 4), (Bytes{'Q', 'E', 'M', 'U'}));
  EXPECT_EQ(item(1, 4), (Bytes{1, 0, 0, 0}));
  EXPECT_EQ(in(0x514), 0xffu);
}

TEST_F(FwCfgTest, ItemsEndInZeros) {
  EXPECT_EQ(item(5, 4), (Bytes{1, 0, 0, 0}));
  EXPECT_EQ(item(0x1234, 2), (Bytes{0, 0}));
}

TEST_F(FwCfgTest, FileIsMadeWhenItIsSelected) {
  constexpr unsigned kFirstFile = 0x20;  // "etc/boot-fail-wait"
  uint8_t made = 0;
  fw_cfg.on_select("etc/boot-fail-wait", [&made] { return Bytes(4, ++made); });

  EXPECT_EQ(item(kFirstFile, 5), (Bytes{1, 1, 1, 1, 0}));
  EXPECT_EQ(item(kFirstFile, 4), (Bytes{2, 2, 2, 2}));
  EXPECT_EQ(made, 2);
}

TEST_F(FwCfgTest, SelectingStartsAnew) {
  item(0, 2);
  EXPECT_EQ(item(0, 1), (Bytes{'Q'}));
}

TEST_F(FwCfgTest, DirectoryNamesTheFiles) {
  Bytes directory = item(0x19, 4 + 2 * 64);
  EXPECT_EQ(directory[3], 2);
  const uint8_t* second = &directory[4 + 64];
  EXPECT_STREQ(reinterpret_cast<const char*>(second + 8), "etc/e820");
  EXPECT_EQ(second[3], 40);
  unsigned select = second[4] << 8u | second[5];
  Bytes e820 = item(select, 40);
  EXPECT_EQ(load_le<uint64_t>(&e820[8]), uint64_t{64} << 20);
  EXPECT_EQ(load_le<uint64_t>(&e820[20]), uint64_t{1} << 32);
  EXPECT_EQ(load_le<uint32_t>(&e820[36]), 1u);
}

TEST_F(FwCfgTest, WritesToDataAndByteSelectorsDoNothing) {
  item(0, 1);
  out(0x511, 0x55);
  out(0x510, 5);
  EXPECT_EQ(in(0x511), static_cast<uint64_t>('E'));
}

}  // namespace
}  // namespace dejavm::devices
