#include "engine/soft/segment_limits.h"

#include "engine/soft/core.h"

namespace dejavm::soft {
namespace {

bool type_allows(const vm::Segment& segment, bool write) {
  bool code = (segment.type & kTypeCode) != 0;
  bool second = (segment.type & kTypeWritableOrReadable) != 0;
  return write ? !code && second : !code || second;
}

}  // namespace

bool within_limit(const vm::Segment& segment, uint64_t offset, uint64_t size) {
  bool expand_down = (segment.type & (kTypeCode | kTypeDownOrConforming)) == kTypeDownOrConforming;
  uint64_t last = segment.limit;
  if (expand_down) {
    if (offset <= segment.limit) return false;
    last = segment.db != 0 ? 0xffffffff : 0xffff;
  }
  if (offset > last) return false;
  // A segment of the whole 4 GiB has no end: an access goes on at address 0.
  return last == 0xffffffff || size - 1 <= last - offset;
}

void Core::check_segment(vm::SegmentName name, uint64_t offset, size_t size, bool write) {
  const vm::Segment& segment = cpu.segment[name];
  bool allowed = within_limit(segment, offset, size);
  // Real and virtual-8086 mode have limits, but no types.
  if (!segments_are_shifted()) allowed = allowed && segment.unusable == 0 && type_allows(segment, write);
  if (!allowed) raise(name == vm::ss ? kStackFault : kGeneralProtection, 0);
}

}  // namespace dejavm::soft
