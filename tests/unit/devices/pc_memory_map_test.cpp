#include "devices/pc_memory_map.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace dejavm::devices {
namespace {

constexpr uint64_t kKib = 1024, kMib = kKib * 1024, kGib = kMib * 1024;

using Map = std::vector<vm::MemoryRange>;

TEST(PcMemoryMap, AfterResetTheFirmwareStandsTwice) {
  Map map = pc_memory_map(16 * kMib, 256 * kKib, {});
  EXPECT_EQ(map, (Map{{{0}, 0xa0000, 0, true},
                      {{0xe0000}, 0x20000, 16 * kMib + 128 * kKib, false},
                      {{kMib}, 15 * kMib, kMib, true},
                      {{4 * kGib - 256 * kKib}, 256 * kKib, 16 * kMib, false}}));
}

TEST(PcMemoryMap, SmallImageReachesOnlyItsOwnSize) {
  Map map = pc_memory_map(kMib, 64 * kKib, {});
  EXPECT_EQ(
      map,
      (Map{{{0}, 0xa0000, 0, true}, {{0xf0000}, 0x10000, kMib, false}, {{4 * kGib - 64 * kKib}, 64 * kKib, kMib, false}}));
}

TEST(PcMemoryMap, FullShadowIsOneRangeOfRam) {
  Map map = pc_memory_map(2 * kMib, 128 * kKib, {0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33});
  EXPECT_EQ(map[1], (vm::MemoryRange{{0xc0000}, 2 * kMib - 0xc0000, 0xc0000, true}));
}

TEST(PcMemoryMap, ReadOnlyRamSplits) {
  Map map = pc_memory_map(2 * kMib, 128 * kKib, {0x10, 0x33, 0x11, 0x33, 0x33, 0x33, 0x33});
  EXPECT_EQ(map[2], (vm::MemoryRange{{0xc8000}, 0x8000, 0xc8000, false}));
  EXPECT_EQ(map[4], (vm::MemoryRange{{0xf0000}, 0x10000, 0xf0000, false}));
}

TEST(PcMemoryMap, ReadRomWriteRamIsRom) {
  Map rom = pc_memory_map(2 * kMib, 128 * kKib, {});
  Map write_only = pc_memory_map(2 * kMib, 128 * kKib, {0x20, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22});
  EXPECT_EQ(write_only, rom);
}

TEST(PcMemoryMap, NibblesAreTheRightAreas) {
  Map map = pc_memory_map(2 * kMib, 128 * kKib, {0, 0, 0x30, 0, 0, 0, 0});
  EXPECT_EQ(map[1], (vm::MemoryRange{{0xcc000}, 0x4000, 0xcc000, true}));
}

TEST(PcMemoryMap, LargeRamContinuesAboveFourGib) {
  EXPECT_EQ(split_ram(0xdffff000).above_4g, 0u);
  EXPECT_EQ(split_ram(0xe0000000).below_4g, 3 * kGib);
  Map map = pc_memory_map(6 * kGib, 256 * kKib, {});
  EXPECT_EQ(map.back(), (vm::MemoryRange{{4 * kGib}, 3 * kGib, 3 * kGib, true}));
}

TEST(PcMemoryMap, WithoutFirmwareThereIsNoRom) {
  Map map = pc_memory_map(16 * kMib, 0, kShadowedPam);
  EXPECT_EQ(map, (Map{{{0}, 0xa0000, 0, true}, {{0xc0000}, 16 * kMib - 0xc0000, 0xc0000, true}}));
}

TEST(BootMemoryAreas, AreWhatAPcTellsItsKernel) {
  std::vector<loader::MemoryArea> areas = boot_memory_areas(64 * kMib);
  EXPECT_EQ(areas, (std::vector<loader::MemoryArea>{
                       {0, 0x9fc00, true}, {0x9fc00, 0x400, false}, {0xf0000, 0x10000, false}, {kMib, 63 * kMib, true}}));
}

TEST(BootMemoryAreas, ContinueAboveFourGib) {
  std::vector<loader::MemoryArea> areas = boot_memory_areas(6 * kGib);
  EXPECT_EQ(areas[3], (loader::MemoryArea{kMib, 3 * kGib - kMib, true}));
  EXPECT_EQ(areas[4], (loader::MemoryArea{4 * kGib, 3 * kGib, true}));
}

TEST(BootMemoryAreas, AreMemoryInTheMapWithoutFirmware) {
  for (uint64_t ram_size : {kMib, 64 * kMib, 6 * kGib}) {
    Map map = pc_memory_map(ram_size, 0, kShadowedPam);
    for (const loader::MemoryArea& area : boot_memory_areas(ram_size)) {
      bool inside = std::any_of(map.begin(), map.end(), [&](const vm::MemoryRange& range) {
        return area.base >= range.base.value && area.base + area.size <= range.base.value + range.size;
      });
      EXPECT_TRUE(inside) << ram_size << " " << area.base;
    }
  }
}

}  // namespace
}  // namespace dejavm::devices
