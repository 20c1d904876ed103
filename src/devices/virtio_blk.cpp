#include "devices/virtio_blk.h"

#include <algorithm>

namespace dejavm::devices {
namespace {

constexpr uint64_t kSector = 512;
constexpr uint16_t kQueueSize = 256;
constexpr size_t kHeaderSize = 16, kIdSize = 20, kRangeSize = 16;
constexpr size_t kPart = 256 * 1024;  // of a transfer at once

constexpr unsigned kSegMax = 2, kGeometry = 4, kReadOnly = 5, kBlockSize = 6, kFlush = 9, kTopology = 10, kConfigWce = 11,
                   kDiscard = 13, kWriteZeroes = 14;

// Request types; a direction bit and a barrier bit, which means nothing today, are added to them.
constexpr uint32_t kTransfer = 0, kFlushCommand = 4, kGetId = 8, kDiscardCommand = 10, kZeroesCommand = 12;
constexpr uint32_t kOut = 1, kBarrier = 0x80000000;

// Offsets in the device configuration.
constexpr size_t kCapacityAt = 0, kSegMaxAt = 12, kCylindersAt = 16, kHeadsAt = 18, kSectorsAt = 19, kBlockSizeAt = 20,
                 kWritebackAt = 32, kQueuesAt = 34, kMaxDiscardAt = 36, kDiscardSegAt = 40, kDiscardAlignAt = 44,
                 kMaxZeroesAt = 48, kZeroesSegAt = 52, kZeroesUnmapAt = 56, kRegistersSize = 57;
constexpr uint32_t kMaxClearSectors = 0x3fffff;  // QEMU's: 2 GiB less a sector

uint64_t bit(unsigned feature) { return uint64_t{1} << feature; }

}  // namespace

VirtioBlk::VirtioBlk(std::string name, const VirtioBoard& board, unsigned devfn, std::unique_ptr<BlockStore> store,
                     std::string serial)
    : VirtioPci(std::move(name), board, devfn, describe(*store)), store_(std::move(store)), serial_(std::move(serial)) {}

VirtioConfig VirtioBlk::describe(const BlockStore& store) {
  VirtioConfig config{.device = 2, .class_code = 0x010000, .features = 0, .queue_size = kQueueSize, .registers = {}};
  config.features = bit(kSegMax) | bit(kGeometry) | bit(kBlockSize) | bit(kFlush) | bit(kTopology) | bit(kConfigWce);
  config.features |= bit(kDiscard) | bit(kWriteZeroes) | (store.read_only() ? bit(kReadOnly) : 0);
  Bytes& registers = config.registers;
  registers.resize(kRegistersSize);
  uint64_t sectors = store.size() / kSector;
  // The geometry that QEMU gives a disk without partitions.
  constexpr uint64_t kHeads = 16, kTrack = 63;
  uint64_t cylinders = std::clamp<uint64_t>(sectors / (kHeads * kTrack), 2, 16383);
  store_le(&registers[kCapacityAt], sectors);
  store_le(&registers[kSegMaxAt], uint32_t{kQueueSize - 2});
  store_le(&registers[kCylindersAt], static_cast<uint16_t>(cylinders));
  registers[kHeadsAt] = kHeads;
  registers[kSectorsAt] = kTrack;
  store_le(&registers[kBlockSizeAt], static_cast<uint32_t>(kSector));
  registers[kWritebackAt] = 1;
  store_le(&registers[kQueuesAt], uint16_t{1});
  store_le(&registers[kMaxDiscardAt], kMaxClearSectors);
  store_le(&registers[kDiscardSegAt], uint32_t{1});
  store_le(&registers[kDiscardAlignAt], uint32_t{1});
  store_le(&registers[kMaxZeroesAt], kMaxClearSectors);
  store_le(&registers[kZeroesSegAt], uint32_t{1});
  registers[kZeroesUnmapAt] = 1;
  return config;
}

/// The driver may choose write-through caching: every write is flushed then.
void VirtioBlk::registers_written(uint64_t offset, uint8_t value) {
  if (offset == kWritebackAt && negotiated(kConfigWce)) registers()[kWritebackAt] = value & 1;
}

std::optional<VirtioPci::Served> VirtioBlk::serve(const VirtioChain& chain) {
  uint8_t header[kHeaderSize];
  if (chain.writable.empty() || !read_segments(dma(), chain.readable, 0, header)) return std::nullopt;
  Served served;
  auto outcome = perform(load_le<uint32_t>(header), load_le<uint64_t>(header + 8), chain, served);
  const uint8_t status[] = {static_cast<uint8_t>(outcome)};
  // The status is the last byte that the device may write.
  const VirtioSegment& last = chain.writable.back();
  if (!dma().write(last.gpa + last.size - 1, status)) return std::nullopt;
  ++served.written;
  return served;
}

VirtioBlk::Outcome VirtioBlk::perform(uint32_t type, uint64_t sector, const VirtioChain& chain, Served& served) {
  bool out = (type & kOut) != 0;
  switch (type & ~(kOut | kBarrier)) {
    case kTransfer:
      return out ? transfer_out(sector, chain, served) : transfer_in(sector, chain, served);
    case kFlushCommand:
      return store_->flush() ? Outcome::ok : Outcome::io_error;
    case kGetId:
      return identify(chain, served);
    case kDiscardCommand:
    case kZeroesCommand:
      return out ? clear((type & ~(kOut | kBarrier)) == kZeroesCommand, chain) : Outcome::unsupported;
    default:
      return Outcome::unsupported;
  }
}

bool VirtioBlk::inside(uint64_t sector, uint64_t bytes) const {
  uint64_t sectors = store_->size() / kSector;
  return bytes % kSector == 0 && sector <= sectors && bytes / kSector <= sectors - sector;
}

VirtioBlk::Outcome VirtioBlk::transfer_in(uint64_t sector, const VirtioChain& chain, Served& served) {
  uint64_t bytes = total_size(chain.writable) - 1;
  if (bytes > kMaxRequest || !inside(sector, bytes)) return Outcome::io_error;
  served.moved = bytes;
  for (uint64_t done = 0; done < bytes; done += buffer_.size()) {
    buffer_.resize(std::min<uint64_t>(kPart, bytes - done));
    if (!store_->read(sector * kSector + done, buffer_)) return Outcome::io_error;
    if (!write_segments(dma(), chain.writable, done, buffer_)) return Outcome::io_error;
    served.written = static_cast<uint32_t>(done + buffer_.size());
  }
  return Outcome::ok;
}

VirtioBlk::Outcome VirtioBlk::transfer_out(uint64_t sector, const VirtioChain& chain, Served& served) {
  uint64_t bytes = total_size(chain.readable) - kHeaderSize;
  if (bytes > kMaxRequest || !inside(sector, bytes) || store_->read_only()) return Outcome::io_error;
  served.moved = bytes;
  for (uint64_t done = 0; done < bytes; done += buffer_.size()) {
    buffer_.resize(std::min<uint64_t>(kPart, bytes - done));
    if (!read_segments(dma(), chain.readable, kHeaderSize + done, buffer_)) return Outcome::io_error;
    if (!store_->write(sector * kSector + done, buffer_)) return Outcome::io_error;
  }
  bool write_through = !negotiated(kFlush) || registers()[kWritebackAt] == 0;
  return !write_through || store_->flush() ? Outcome::ok : Outcome::io_error;
}

VirtioBlk::Outcome VirtioBlk::identify(const VirtioChain& chain, Served& served) {
  uint8_t id[kIdSize] = {};
  std::copy_n(serial_.begin(), std::min(serial_.size(), kIdSize), id);
  uint64_t room = std::min<uint64_t>(kIdSize, total_size(chain.writable) - 1);
  if (!write_segments(dma(), chain.writable, 0, {id, room})) return Outcome::io_error;
  served.written = static_cast<uint32_t>(room);
  return Outcome::ok;
}

/// Discard and write zeroes: a range follows the header, exactly one.
VirtioBlk::Outcome VirtioBlk::clear(bool zeroes, const VirtioChain& chain) {
  if (total_size(chain.readable) != kHeaderSize + kRangeSize) return Outcome::unsupported;
  uint8_t range[kRangeSize];
  if (!read_segments(dma(), chain.readable, kHeaderSize, range)) return Outcome::io_error;
  auto sector = load_le<uint64_t>(range);
  auto sectors = load_le<uint32_t>(range + 8);
  auto flags = load_le<uint32_t>(range + 12);
  constexpr uint32_t kUnmap = 1;
  if ((flags & ~kUnmap) != 0 || (!zeroes && flags != 0)) return Outcome::unsupported;
  if (sectors > kMaxClearSectors || !inside(sector, sectors * kSector) || store_->read_only()) return Outcome::io_error;
  if (!zeroes) return Outcome::ok;
  return store_->write_zeroes(sector * kSector, sectors * kSector) ? Outcome::ok : Outcome::io_error;
}

}  // namespace dejavm::devices
