#include "devices/e1000_receive.h"

#include <algorithm>

#include "devices/e1000_filter.h"

namespace dejavm::devices::e1000 {
namespace {

constexpr size_t kShortest = 60, kLongestTagged = 1522, kLongestJumbo = 16384;
constexpr uint32_t kCheckSequence = 4;
constexpr uint8_t kDone = 1 << 0, kEndOfPacket = 1 << 1, kIgnoreChecksum = 1 << 2, kVlanPacket = 1 << 3;

}  // namespace

uint32_t Receiver::descriptors() const { return registers_[kRdlen] / kDescriptorSize; }

uint32_t Receiver::free_descriptors() const {
  uint32_t head = registers_[kRdh], tail = registers_[kRdt], all = descriptors();
  if (head >= all || tail >= all) return 0;
  return head <= tail ? tail - head : all - head + tail;
}

uint32_t Receiver::buffer_size() const {
  uint32_t rctl = registers_[kRctl];
  uint32_t code = rctl >> 16 & 3;
  if ((rctl & kRctlBigBuffers) != 0 && code != 0) return 32768u >> code;
  return 2048u >> code;
}

bool Receiver::has_room(uint64_t size) const { return size <= uint64_t{free_descriptors()} * buffer_size(); }

bool Receiver::ready() const { return (registers_[kRctl] & kRctlEnable) != 0 && has_room(1); }

void Receiver::receive(ByteSpan frame) {
  if ((registers_[kRctl] & kRctlEnable) == 0 || frame.size() < 14) return;
  uint32_t rctl = registers_[kRctl];
  bool too_long = frame.size() > kLongestJumbo || (frame.size() > kLongestTagged && (rctl & kRctlLongPackets) == 0);
  if (too_long && ((rctl & kRctlStoreBad) == 0 || frame.size() > kLongestJumbo)) return count(registers_, kRoc);
  Bytes bytes(frame.begin(), frame.end());
  if (bytes.size() < kShortest) bytes.resize(kShortest);
  if (!accepts(registers_, bytes)) return;

  uint16_t vlan = 0;
  uint8_t status = kDone | kIgnoreChecksum;
  if ((registers_[kCtrl] & kCtrlVlanMode) != 0 && has_vlan_tag(registers_, bytes)) {
    vlan = static_cast<uint16_t>(bytes[14] << 8 | bytes[15]);
    bytes.erase(bytes.begin() + 12, bytes.begin() + 16);
    status |= kVlanPacket;
  }
  uint64_t total = bytes.size() + ((rctl & kRctlStripCrc) != 0 ? 0 : kCheckSequence);
  if (!has_room(total)) {
    count(registers_, kRnbc);
    interrupts_.raise(kCauseRxOverrun);
    return;
  }
  store(bytes, total, vlan, status);
  count_received(registers_, frame, static_cast<uint32_t>(std::max(frame.size(), kShortest)));
  uint32_t causes = kCauseRxTimer;
  uint32_t minimum_shift = (rctl >> 8 & 3) + 1;  // RDMTS: a half, a quarter, an eighth of the ring
  if (free_descriptors() <= descriptors() >> minimum_shift) causes |= kCauseRxMinimum;
  interrupts_.raise(causes);
}

/// There is room: has_room(total).
void Receiver::store(ByteSpan frame, uint64_t total, uint16_t vlan, uint8_t status) {
  for (uint64_t done = 0; done < total;) {
    uint64_t here = std::min<uint64_t>(total - done, buffer_size());
    uint32_t& head = registers_[kRdh];
    uint64_t at = registers_.descriptor(kRdbal, head);
    std::array<uint8_t, kDescriptorSize> raw{};
    static_cast<void>(dma_.read(at, raw));
    auto address = load_le<uint64_t>(&raw[0]);
    ByteSpan part = frame.subspan(std::min<uint64_t>(done, frame.size()));
    part = part.first(std::min<uint64_t>(part.size(), here));
    if (address != 0 && !part.empty()) static_cast<void>(dma_.write(address, part));
    done += here;
    store_le(&raw[8], static_cast<uint16_t>(here));
    raw[12] = static_cast<uint8_t>(done < total ? status & ~kIgnoreChecksum : status | kEndOfPacket);
    raw[13] = 0;
    store_le(&raw[14], vlan);
    static_cast<void>(dma_.write(at, raw));
    head = head + 1 < descriptors() ? head + 1 : 0;
  }
}

}  // namespace dejavm::devices::e1000
