#include "devices/pc_memory_map.h"

#include <algorithm>

#include "base/check.h"

namespace dejavm::devices {
namespace {

constexpr uint64_t kMib = uint64_t{1} << 20;
constexpr uint64_t kGib = uint64_t{1} << 30;
constexpr uint64_t kPamStart = 0xc0000;
constexpr uint64_t kPamStep = 0x4000;
constexpr uint64_t kPamAreas = 16;
constexpr uint64_t kIsaRomLimit = uint64_t{128} << 10;

/// Bits 0 (reads from RAM) and 1 (writes to RAM) of the 16 KiB area `area`, counted from 0xc0000.
unsigned pam_mode(const PamRegisters& pam, uint64_t area) {
  if (area >= 12) return pam[0] >> 4 & 3;  // 0xf0000 to 0xfffff is one area
  uint8_t value = pam[1 + area / 2];
  return (area % 2 == 0 ? value : value >> 4) & 3;
}

/// Adds a range, as part of the one before where they continue each other.
void append(std::vector<vm::MemoryRange>& map, const vm::MemoryRange& range) {
  if (!map.empty()) {
    vm::MemoryRange& last = map.back();
    if (last.base.value + last.size == range.base.value && last.offset + last.size == range.offset &&
        last.writable == range.writable) {
      last.size += range.size;
      return;
    }
  }
  map.push_back(range);
}

}  // namespace

RamSplit split_ram(uint64_t ram_size) {
  if (ram_size < 0xe0000000) return {ram_size, 0};
  return {3 * kGib, ram_size - 3 * kGib};
}

std::vector<vm::MemoryRange> pc_memory_map(uint64_t ram_size, uint64_t rom_size, const PamRegisters& pam) {
  CHECK(ram_size >= kMib);
  RamSplit ram = split_ram(ram_size);
  std::vector<vm::MemoryRange> map;
  append(map, {{0}, 0xa0000, 0, true});
  uint64_t rom_start = kMib - std::min(rom_size, kIsaRomLimit);
  for (uint64_t area = 0; area < kPamAreas; ++area) {
    uint64_t base = kPamStart + area * kPamStep;
    unsigned mode = pam_mode(pam, area);
    if ((mode & 1) != 0) {
      append(map, {{base}, kPamStep, base, mode == 3});
      continue;
    }
    uint64_t from = std::max(base, rom_start);
    if (from >= base + kPamStep) continue;
    append(map, {{from}, base + kPamStep - from, ram_size + rom_size - (kMib - from), false});
  }
  if (ram.below_4g > kMib) append(map, {{kMib}, ram.below_4g - kMib, kMib, true});
  if (rom_size > 0) append(map, {{4 * kGib - rom_size}, rom_size, ram_size, false});
  if (ram.above_4g > 0) append(map, {{4 * kGib}, ram.above_4g, ram.below_4g, true});
  return map;
}

std::vector<loader::MemoryArea> boot_memory_areas(uint64_t ram_size) {
  CHECK(ram_size >= kMib);
  constexpr uint64_t kExtendedBiosData = 0x9fc00, kVideo = 0xa0000, kSystemBios = 0xf0000;
  RamSplit ram = split_ram(ram_size);
  std::vector<loader::MemoryArea> areas = {{0, kExtendedBiosData, true},
                                           {kExtendedBiosData, kVideo - kExtendedBiosData, false},
                                           {kSystemBios, kMib - kSystemBios, false}};
  if (ram.below_4g > kMib) areas.push_back({kMib, ram.below_4g - kMib, true});
  if (ram.above_4g > 0) areas.push_back({4 * kGib, ram.above_4g, true});
  return areas;
}

}  // namespace dejavm::devices
