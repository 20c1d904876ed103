#include "devices/e1000_filter.h"

#include <algorithm>

namespace dejavm::devices::e1000 {
namespace {

constexpr uint32_t kCheckSequence = 4;
constexpr size_t kReceiveAddresses = 16;
constexpr uint32_t kAddressValid = 1u << 31;

bool is_broadcast(ByteSpan frame) {
  return std::all_of(frame.begin(), frame.begin() + 6, [](uint8_t byte) { return byte == 0xff; });
}
bool is_multicast(ByteSpan frame) { return (frame[0] & 1) != 0; }

bool vlan_passes(const Registers& registers, ByteSpan frame) {
  if ((registers[kRctl] & kRctlVlanFilter) == 0 || !has_vlan_tag(registers, frame)) return true;
  unsigned id = (frame[14] << 8 | frame[15]) & 0xfff;
  return (registers[kVfta + 4 * (id / 32)] >> id % 32 & 1) != 0;
}

bool is_own_address(const Registers& registers, ByteSpan frame) {
  for (uint32_t i = 0; i < kReceiveAddresses; ++i) {
    uint32_t high = registers[kRa + 8 * i + 4];
    uint8_t address[8];
    store_le(address, registers[kRa + 8 * i]);
    store_le(address + 4, high);
    if ((high & kAddressValid) != 0 && std::equal(address, address + 6, frame.begin())) return true;
  }
  return false;
}

bool in_multicast_table(const Registers& registers, ByteSpan frame) {
  static constexpr unsigned kShifts[] = {4, 3, 2, 0};
  unsigned hash = (frame[5] << 8 | frame[4]) >> kShifts[registers[kRctl] >> 12 & 3] & 0xfff;
  return (registers[kMta + 4 * (hash / 32)] >> hash % 32 & 1) != 0;
}

void add_octets(Registers& registers, uint32_t low, uint64_t octets) {
  uint64_t total = uint64_t{registers[low + 4]} << 32 | registers[low];
  total = total > UINT64_MAX - octets ? UINT64_MAX : total + octets;
  registers[low] = static_cast<uint32_t>(total);
  registers[low + 4] = static_cast<uint32_t>(total >> 32);
}

/// The counter of a size class: 64, to 127, to 255, to 511, to 1023, above.
uint32_t size_class(uint32_t first, uint32_t size) {
  if (size <= 64) return first;
  uint32_t number = 1;
  while (number < 5 && size >= 64u << number) ++number;
  return first + 4 * number;
}

}  // namespace

bool has_vlan_tag(const Registers& registers, ByteSpan frame) {
  return frame.size() >= 18 && uint32_t(frame[12] << 8 | frame[13]) == (registers[kVet] & 0xffff);
}

bool accepts(const Registers& registers, ByteSpan frame) {
  if (!vlan_passes(registers, frame)) return false;
  uint32_t rctl = registers[kRctl];
  if (is_broadcast(frame) && (rctl & kRctlBroadcast) != 0) return true;
  if (is_multicast(frame)) return (rctl & kRctlMulticastAll) != 0 || in_multicast_table(registers, frame);
  return (rctl & kRctlUnicastAll) != 0 || is_own_address(registers, frame);
}

void count_received(Registers& registers, ByteSpan frame, uint32_t size) {
  count(registers, kTpr);
  count(registers, kGprc);
  count(registers, size_class(kPrc64, size + kCheckSequence));
  if (is_broadcast(frame)) {
    count(registers, kBprc);
  } else if (is_multicast(frame)) {
    count(registers, kMprc);
  }
  add_octets(registers, kTorl, size + kCheckSequence);
  add_octets(registers, kGorcl, size + kCheckSequence);
}

void count_sent(Registers& registers, ByteSpan frame, uint32_t size) {
  count(registers, kTpt);
  count(registers, kGptc);
  count(registers, size_class(kPtc64, size + kCheckSequence));
  if (is_broadcast(frame)) {
    count(registers, kBptc);
  } else if (is_multicast(frame)) {
    count(registers, kMptc);
  }
  add_octets(registers, kTotl, size + kCheckSequence);
  add_octets(registers, kGotcl, size + kCheckSequence);
}

void count(Registers& registers, uint32_t counter) {
  if (registers[counter] != UINT32_MAX) ++registers[counter];
}

}  // namespace dejavm::devices::e1000
