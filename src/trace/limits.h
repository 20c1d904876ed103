// The hard limits of the format: a writer refuses to pass them, a reader refuses what claims to.
#pragma once

#include <cstdint>

namespace dejavm::trace {

inline constexpr uint32_t kFormatVersion = 1;
/// Events of all kinds in a chunk.
inline constexpr uint64_t kMaxChunkRecords = 65536;
/// One event in its stored form (a DMA write of 256 MiB is more than any device does at once).
inline constexpr uint64_t kMaxEventBytes = (uint64_t{256} << 20) + 65536;
/// A frame's payload before compression.
inline constexpr uint64_t kMaxRawBytes = uint64_t{320} << 20;
/// zstd cannot make more than this of one byte (a run-length block of 128 KiB takes 4 bytes), so a larger claim is a lie.
inline constexpr uint64_t kMaxExpansion = 33000;
/// Ranges of a memory map (a PC has a dozen; KVM has 509 slots or more).
inline constexpr uint64_t kMaxMapRanges = 512;
/// What a journal may hold.
inline constexpr uint64_t kMaxJournalBytes = uint64_t{256} << 20;
/// Pages in one frame of page contents.
inline constexpr uint64_t kMaxFramePages = 2048;

}  // namespace dejavm::trace
