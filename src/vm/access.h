// One transfer between the vCPU and a device: the unit of recording.
#pragma once

#include <cstdint>
#include <string>

namespace dejavm::vm {

enum class Space : uint8_t { mmio = 0, pio = 1 };
enum class Direction : uint8_t { read = 0, write = 1 };

/// One transfer of one element. `size` is 1 to 8 bytes, odd sizes included (KVM splits at page boundaries); `addr` is a
/// guest physical address or a port; `value` holds `size` bytes, little-endian, the rest zero. For a read, `value` is what
/// the device answered (0 until it did).
struct Access {
  Space space = Space::mmio;
  Direction direction = Direction::read;
  uint8_t size = 0;
  uint64_t addr = 0;
  uint64_t value = 0;

  bool operator==(const Access&) const = default;
  bool is_write() const { return direction == Direction::write; }
};

/// "mmio read of 4 bytes at 0xfebc0080" / "pio write of 1 byte at port 0x3f8: 0x41"; a write shows its value.
std::string describe(const Access& access);

}  // namespace dejavm::vm
