#include "devices/e1000_offload.h"

#include <algorithm>

namespace dejavm::devices::e1000 {
namespace {

constexpr uint32_t kContextTcp = 1u << 24, kContextIpv4 = 1u << 25;
constexpr size_t kIpv6Header = 40;
constexpr uint8_t kFin = 0x01, kPush = 0x08;

uint16_t load_be16(MutableByteSpan frame, size_t at) {
  return at + 2 <= frame.size() ? static_cast<uint16_t>(frame[at] << 8 | frame[at + 1]) : uint16_t{0};
}
void store_be16(MutableByteSpan frame, size_t at, size_t value) {
  if (at + 2 > frame.size()) return;
  frame[at] = static_cast<uint8_t>(value >> 8);
  frame[at + 1] = static_cast<uint8_t>(value);
}

uint32_t fold(uint64_t sum) {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint32_t>(sum);
}

}  // namespace

OffloadContext parse_context(ByteSpan descriptor) {
  OffloadContext context;
  context.ip = {descriptor[0], descriptor[1], load_le<uint16_t>(&descriptor[2])};
  context.transport = {descriptor[4], descriptor[5], load_le<uint16_t>(&descriptor[6])};
  auto command = load_le<uint32_t>(&descriptor[8]);
  context.payload_length = command & 0xfffff;
  context.header_length = descriptor[13];
  context.segment_size = load_le<uint16_t>(&descriptor[14]);
  context.ipv4 = (command & kContextIpv4) != 0;
  context.tcp = (command & kContextTcp) != 0;
  return context;
}

void insert_checksum(MutableByteSpan frame, const ChecksumRange& range) {
  size_t end = frame.size();
  if (range.end != 0) end = std::min<size_t>(end, size_t{range.end} + 1);
  if (range.start >= end || size_t{range.place} + 2 > end) return;
  uint64_t sum = 0;
  for (size_t i = range.start; i < end; ++i) sum += (i - range.start) % 2 == 0 ? frame[i] << 8 : frame[i];
  uint32_t checksum = ~fold(sum) & 0xffff;
  // Zero means "no checksum" to UDP; all ones is the same number.
  store_be16(frame, range.place, checksum == 0 ? 0xffff : checksum);
}

void fix_segment_headers(MutableByteSpan frame, const OffloadContext& context, uint32_t number, bool transport_checksum) {
  size_t ip = context.ip.start;
  if (context.ipv4) {
    store_be16(frame, ip + 2, frame.size() - std::min(ip, frame.size()));
    store_be16(frame, ip + 4, load_be16(frame, ip + 4) + number);
  } else {
    store_be16(frame, ip + 4, frame.size() - std::min(ip + kIpv6Header, frame.size()));
  }
  size_t transport = context.transport.start;
  size_t length = frame.size() - std::min(transport, frame.size());
  if (!context.tcp) {
    store_be16(frame, transport + 4, length);
  } else if (transport + 14 <= frame.size()) {
    uint32_t sequence = uint32_t{load_be16(frame, transport + 4)} << 16 | load_be16(frame, transport + 6);
    sequence += number * context.segment_size;
    store_be16(frame, transport + 4, sequence >> 16);
    store_be16(frame, transport + 6, sequence & 0xffff);
    bool last = (uint64_t{number} + 1) * context.segment_size >= context.payload_length;
    if (!last) frame[transport + 13] &= static_cast<uint8_t>(~(kFin | kPush));
  }
  if (!transport_checksum) return;
  size_t place = context.transport.place;
  store_be16(frame, place, fold(uint64_t{load_be16(frame, place)} + length));
}

}  // namespace dejavm::devices::e1000
