// Where the PC's RAM and firmware stand in the guest physical space. Sources: Intel 440FX datasheet (290549), PAM registers;
// QEMU's pc machine for the RAM below and above 4 GiB.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "vm/guest_memory.h"
#include "vm/loader/memory_area.h"

namespace dejavm::devices {

/// The programmable attribute map registers 0x59 to 0x5f of the host bridge.
using PamRegisters = std::array<uint8_t, 7>;

/// How RAM is divided: all below 4 GiB, or, from 3.5 GiB on, 3 GiB there and the rest above.
struct RamSplit {
  uint64_t below_4g = 0;
  uint64_t above_4g = 0;
};
RamSplit split_ram(uint64_t ram_size);

/// The map for these PAM registers. ram_size is at least 1 MiB; the ROM image of rom_size bytes (0: none) stands in the
/// backing behind the RAM. It ends at 4 GiB, and its last 128 KiB stand also below 1 MiB where PAM reads from ROM. A PAM
/// area is
///   read RAM, write RAM: RAM
///   read RAM only: RAM, writes are dropped
///   read ROM: ROM where the image reaches, else nothing; writes are dropped. "Read ROM, write RAM" is treated alike: a map
///   has one backing for a range, and firmware that copies itself reads the copy below 4 GiB and makes its target RAM first.
/// 0xa0000 to 0xbffff is not memory.
std::vector<vm::MemoryRange> pc_memory_map(uint64_t ram_size, uint64_t rom_size, const PamRegisters& pam);

/// PAM registers as firmware leaves them when it has copied itself: RAM everywhere.
inline constexpr PamRegisters kShadowedPam = {0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33};

/// What a kernel that starts without firmware is told of this memory: RAM but for what a PC keeps for its firmware, the
/// last KiB below 640 KiB and the area from 960 KiB to 1 MiB; nothing is told of what lies between.
std::vector<loader::MemoryArea> boot_memory_areas(uint64_t ram_size);

}  // namespace dejavm::devices
