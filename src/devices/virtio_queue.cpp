#include "devices/virtio_queue.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace dejavm::devices {
namespace {

constexpr unsigned kDescriptorSize = 16, kUsedElementSize = 8;
constexpr uint16_t kNext = 1, kWritable = 2, kIndirect = 4;
constexpr uint16_t kNoInterrupt = 1;  // in the available ring's flags

struct Descriptor {
  uint64_t gpa = 0;
  uint32_t size = 0;
  uint16_t flags = 0;
  uint16_t next = 0;
};

bool read_descriptor(const vm::Dma& dma, uint64_t table, uint32_t index, Descriptor& descriptor) {
  uint8_t bytes[kDescriptorSize];
  if (!dma.read(table + uint64_t{index} * kDescriptorSize, bytes)) return false;
  descriptor = {load_le<uint64_t>(bytes), load_le<uint32_t>(bytes + 8), load_le<uint16_t>(bytes + 12),
                load_le<uint16_t>(bytes + 14)};
  return true;
}

bool read_u16(const vm::Dma& dma, uint64_t gpa, uint16_t& value) {
  uint8_t bytes[2];
  if (!dma.read(gpa, bytes)) return false;
  value = load_le<uint16_t>(bytes);
  return true;
}

bool write_u16(vm::Dma& dma, uint64_t gpa, uint16_t value) {
  uint8_t bytes[2];
  store_le(bytes, value);
  return dma.write(gpa, bytes);
}

/// Calls copy(gpa, start in the buffer, size) for the part of each segment that lies in [offset, offset + size).
template <typename Copy>
bool for_each_part(const std::vector<VirtioSegment>& segments, uint64_t offset, uint64_t size, Copy copy) {
  uint64_t done = 0;
  for (const VirtioSegment& segment : segments) {
    if (done == size) return true;
    if (offset >= segment.size) {
      offset -= segment.size;
      continue;
    }
    uint64_t part = std::min<uint64_t>(segment.size - offset, size - done);
    if (!copy(segment.gpa + offset, done, part)) return false;
    done += part;
    offset = 0;
  }
  return done == size;
}

}  // namespace

uint64_t total_size(const std::vector<VirtioSegment>& segments) {
  uint64_t size = 0;
  for (const VirtioSegment& segment : segments) size += segment.size;
  return size;
}

bool read_segments(const vm::Dma& dma, const std::vector<VirtioSegment>& segments, uint64_t offset, MutableByteSpan to) {
  return for_each_part(segments, offset, to.size(),
                       [&](uint64_t gpa, uint64_t start, uint64_t size) { return dma.read(gpa, to.subspan(start, size)); });
}

bool write_segments(vm::Dma& dma, const std::vector<VirtioSegment>& segments, uint64_t offset, ByteSpan from) {
  return for_each_part(segments, offset, from.size(), [&](uint64_t gpa, uint64_t start, uint64_t size) {
    return dma.write(gpa, from.subspan(start, size));
  });
}

VirtioQueue::VirtioQueue(uint16_t max_size) : max_size_(max_size) {
  CHECK(std::has_single_bit(max_size) && max_size <= 32768);
  reset();
}

void VirtioQueue::reset() {
  registers_ = {};
  registers_.size = max_size_;
  next_available_ = next_used_ = published_used_ = signalled_used_ = 0;
  indirect_ = event_index_ = signalled_ = false;
}

void VirtioQueue::use(bool indirect, bool event_index) {
  indirect_ = indirect;
  event_index_ = event_index;
}

VirtioQueue::Pop VirtioQueue::pop(const vm::Dma& dma, VirtioChain& chain) {
  uint16_t end = 0;
  if (!read_u16(dma, registers_.available + 2, end)) return Pop::broken;
  auto waiting = static_cast<uint16_t>(end - next_available_);
  if (waiting == 0) return Pop::empty;
  if (waiting > registers_.size) return Pop::broken;
  uint64_t slot = next_available_ % registers_.size;
  chain = {};
  if (!read_u16(dma, registers_.available + 4 + 2 * slot, chain.head) || !walk(dma, chain)) return Pop::broken;
  ++next_available_;
  return Pop::chain;
}

/// Follows the chain from its head. Its length is bounded by the device's queue, whatever size a driver gives an indirect
/// table.
bool VirtioQueue::walk(const vm::Dma& dma, VirtioChain& chain) const {
  uint64_t table = registers_.descriptors;
  uint32_t table_size = registers_.size;
  uint32_t index = chain.head;
  bool in_indirect = false;
  for (unsigned visited = 0; visited <= max_size_; ++visited) {
    Descriptor descriptor;
    if (index >= table_size || !read_descriptor(dma, table, index, descriptor)) return false;
    bool has_next = (descriptor.flags & kNext) != 0;
    if (descriptor.size == 0) return false;
    if ((descriptor.flags & kIndirect) != 0) {
      if (!indirect_ || in_indirect || has_next || descriptor.size % kDescriptorSize != 0) return false;
      in_indirect = true;
      table = descriptor.gpa;
      table_size = descriptor.size / kDescriptorSize;
      index = 0;
      continue;
    }
    bool writable = (descriptor.flags & kWritable) != 0;
    if (!writable && !chain.writable.empty()) return false;  // what is read comes first
    (writable ? chain.writable : chain.readable).push_back({descriptor.gpa, descriptor.size});
    if (!has_next) return true;
    index = descriptor.next;
  }
  return false;
}

bool VirtioQueue::push(vm::Dma& dma, uint16_t head, uint32_t written) {
  uint8_t element[kUsedElementSize];
  store_le(element, uint32_t{head});
  store_le(element + 4, written);
  uint64_t slot = next_used_ % registers_.size;
  ++next_used_;
  return dma.write(registers_.used + 4 + kUsedElementSize * slot, element);
}

bool VirtioQueue::publish(vm::Dma& dma) {
  if (published_used_ != next_used_ && !write_u16(dma, registers_.used + 2, next_used_)) return false;
  published_used_ = next_used_;
  if (!event_index_) return true;
  return write_u16(dma, registers_.used + 4 + uint64_t{kUsedElementSize} * registers_.size, next_available_);
}

bool VirtioQueue::wants_interrupt(const vm::Dma& dma) {
  auto fresh = static_cast<uint16_t>(published_used_ - signalled_used_);
  if (fresh == 0) return false;
  bool wanted = false;
  uint16_t value = 0;
  if (event_index_) {
    if (!read_u16(dma, registers_.available + 4 + uint64_t{2} * registers_.size, value)) return false;
    wanted = !signalled_ || static_cast<uint16_t>(published_used_ - value - 1) < fresh;
  } else {
    if (!read_u16(dma, registers_.available, value)) return false;
    wanted = (value & kNoInterrupt) == 0;
  }
  signalled_used_ = published_used_;
  signalled_ = true;
  return wanted;
}

}  // namespace dejavm::devices
