#include "devices/e1000_transmit.h"

#include <algorithm>

#include "devices/e1000_filter.h"

namespace dejavm::devices::e1000 {
namespace {

constexpr uint64_t kBudgetBytes = 256 << 10;
constexpr uint64_t kDescriptorCost = 1 << 10;
constexpr uint64_t kAgainNs = 10'000;
constexpr size_t kMaxPacket = 64 << 10;
constexpr uint32_t kLeastSegment = 16;
constexpr size_t kHeader = 14;

// Command bits.
constexpr uint32_t kEndOfPacket = 1u << 24, kInsertChecksum = 1u << 26, kSegment = 1u << 26, kReportStatus = 1u << 27;
constexpr uint32_t kReportSent = 1u << 28, kExtended = 1u << 29, kVlan = 1u << 30, kDelayInterrupt = 1u << 31;
constexpr uint32_t kDataType = 1u << 20;
// Status bits.
constexpr uint32_t kDone = 1u << 0, kErrors = 0xe;  // excess and late collisions, underrun
// Options.
constexpr uint32_t kIpChecksum = 1u << 0, kTransportChecksum = 1u << 1;

}  // namespace

void Transmitter::reset() {
  timers_.cancel(again_);
  again_ = 0;
  visits_left_ = 0;
  context_ = segmentation_context_ = {};
  end_packet();
}

void Transmitter::doorbell() {
  visits_left_ = registers_[kTdlen] / kDescriptorSize;
  run();
}

void Transmitter::run() {
  timers_.cancel(again_);
  again_ = 0;
  if ((registers_[kTctl] & kTctlEnable) == 0) return;
  uint32_t& head = registers_[kTdh];
  uint64_t spent = 0;
  bool moved = false;
  while (head != registers_[kTdt] && visits_left_ > 0) {
    if (spent >= kBudgetBytes) {
      again_ = timers_.arm(timers_.now_ns() + kAgainNs, [this] { run(); });
      return;
    }
    --visits_left_;
    uint64_t at = registers_.descriptor(kTdbal, head);
    std::array<uint8_t, kDescriptorSize> raw{};
    static_cast<void>(dma_.read(at, raw));
    Descriptor descriptor{load_le<uint64_t>(&raw[0]), load_le<uint32_t>(&raw[8]), load_le<uint32_t>(&raw[12])};
    spent += kDescriptorCost + process(descriptor, raw);
    if ((descriptor.lower & kDelayInterrupt) != 0) interrupts_.delay_transmit();
    write_back(descriptor, at);
    head = head + 1 < registers_[kTdlen] / kDescriptorSize ? head + 1 : 0;
    moved = true;
  }
  if (moved) interrupts_.raise(kCauseTxQueueEmpty);
}

void Transmitter::write_back(const Descriptor& descriptor, uint64_t at) {
  if ((descriptor.lower & (kReportStatus | kReportSent)) == 0) return;
  uint8_t upper[4];
  store_le(upper, (descriptor.upper & ~kErrors) | kDone);
  static_cast<void>(dma_.write(at + 12, upper));
  interrupts_.raise(kCauseTxDescriptorWritten);
}

uint64_t Transmitter::process(const Descriptor& descriptor, ByteSpan raw) {
  bool extended = (descriptor.lower & kExtended) != 0;
  if (extended && (descriptor.lower & kDataType) == 0) {
    OffloadContext context = parse_context(raw);
    ((descriptor.lower & kSegment) != 0 ? segmentation_context_ : context_) = context;
    return 0;
  }
  bool last = (descriptor.lower & kEndOfPacket) != 0;
  uint64_t size = descriptor.lower & (extended ? 0xfffff : 0xffff);
  if (extended) {
    if (packet_.empty()) options_ = descriptor.upper >> 8 & 0xff;
    segmented_ = (descriptor.lower & kSegment) != 0;
  } else {
    segmented_ = false;
    if ((descriptor.lower & kInsertChecksum) != 0) {
      legacy_checksum_ = {static_cast<uint8_t>(descriptor.upper >> 8), static_cast<uint8_t>(descriptor.lower >> 16), 0};
    }
  }
  bool insert_vlan = (registers_[kCtrl] & kCtrlVlanMode) != 0 && (descriptor.lower & kVlan) != 0;
  if (insert_vlan && (last || segmented_)) vlan_ = static_cast<uint16_t>(descriptor.upper >> 16);
  if (segments()) {
    append_segments(descriptor.address, size);
  } else {
    append(descriptor.address, size);
  }
  if (!last) return size;
  if (!segments() || packet_.size() > segmentation_context_.header_length || segments_sent_ == 0) emit();
  end_packet();
  return size;
}

bool Transmitter::segments() const { return segmented_ && segmentation_context_.segment_size >= kLeastSegment; }

void Transmitter::append(uint64_t address, uint64_t size) {
  size = std::min<uint64_t>(size, kMaxPacket - packet_.size());
  size_t before = packet_.size();
  packet_.resize(before + size);
  static_cast<void>(dma_.read(address, MutableByteSpan(packet_).subspan(before)));
}

void Transmitter::append_segments(uint64_t address, uint64_t size) {
  size_t header = segmentation_context_.header_length;
  size_t full = std::min(header + segmentation_context_.segment_size, kMaxPacket);
  while (size > 0) {
    uint64_t piece = std::min<uint64_t>(size, full - std::min(full, packet_.size()));
    append(address, piece);
    address += piece;
    size -= piece;
    if (packet_.size() < full) continue;
    emit();
    ++segments_sent_;
    packet_.resize(header);
  }
}

void Transmitter::emit() {
  if (packet_.size() < kHeader) return;
  frame_ = packet_;
  const OffloadContext& context = segmented_ ? segmentation_context_ : context_;
  bool transport = (options_ & kTransportChecksum) != 0;
  if (segments()) fix_segment_headers(frame_, context, segments_sent_, transport);
  if (transport) insert_checksum(frame_, context.transport);
  if ((options_ & kIpChecksum) != 0) insert_checksum(frame_, context.ip);
  if (legacy_checksum_) insert_checksum(frame_, *legacy_checksum_);
  if (vlan_) {
    uint32_t type = registers_[kVet];
    const uint8_t tag[] = {static_cast<uint8_t>(type >> 8), static_cast<uint8_t>(type), static_cast<uint8_t>(*vlan_ >> 8),
                           static_cast<uint8_t>(*vlan_)};
    frame_.insert(frame_.begin() + 12, std::begin(tag), std::end(tag));
  }
  if (segments() && segments_sent_ == 0) count(registers_, kTsctc);
  count_sent(registers_, frame_, static_cast<uint32_t>(frame_.size()));
  send_(frame_);
}

void Transmitter::end_packet() {
  packet_.clear();
  segmented_ = false;
  segments_sent_ = 0;
  options_ = 0;
  legacy_checksum_.reset();
  vlan_.reset();
}

}  // namespace dejavm::devices::e1000
