// Checksum insertion and TCP segmentation of the 82540EM. Source: Intel 317453, sections 3.3.6, 3.4, 3.5.
#pragma once

#include "base/bytes.h"

namespace dejavm::devices::e1000 {

/// A checksum as a context descriptor asks for it: the sum over [start, end] goes to `place`; end 0 is the frame's end.
struct ChecksumRange {
  uint8_t start = 0;
  uint8_t place = 0;
  uint16_t end = 0;
};

/// A transmit context descriptor.
struct OffloadContext {
  ChecksumRange ip, transport;
  uint32_t payload_length = 0;
  uint8_t header_length = 0;
  uint16_t segment_size = 0;
  bool ipv4 = false;
  bool tcp = false;
};
OffloadContext parse_context(ByteSpan descriptor);

/// No effect where the range or the place does not lie in the frame.
void insert_checksum(MutableByteSpan frame, const ChecksumRange& range);

/// Gives segment `number` of a segmented packet its lengths, identification, sequence number and flags, and adds the
/// length to the pseudo header's sum. Fields outside the frame are left out.
void fix_segment_headers(MutableByteSpan frame, const OffloadContext& context, uint32_t number, bool transport_checksum);

}  // namespace dejavm::devices::e1000
