// What translated code and the C++ around it say to each other. A member of Core, so that the code reaches it from kState.
#pragma once

#include <cstdint>

#include "engine/soft/tcg_flags.h"

namespace dejavm::soft {

/// An entry of a jump cache: where the code for a guest address begins.
struct JumpTarget {
  static constexpr uint64_t kNone = ~uint64_t{0};

  uint64_t rip = kNone;
  const uint8_t* code = nullptr;  ///< its checked entry
};

/// Direct-mapped; one for each TranslationMode.
inline constexpr unsigned kJumpTargets = 16384;
constexpr uint64_t jump_slot(uint64_t rip) { return (rip ^ rip >> 12) % kJumpTargets; }

struct CodeFrame {
  /// Steps that may still be done before the code must leave. A block takes all of its own at its entry. While code runs it
  /// is in kLeft.
  int64_t left = 0;
  /// The guest's status flags while code runs, when they are not in the host's: OF (0 or 1) in the lower byte, the others in
  /// the upper byte as LAHF has them. RFLAGS keeps everything else. While code runs they are in kFlags.
  uint64_t flags = 0;
  /// SSE instructions fault (CR0, CR4); changes only between two runs of translated code.
  uint8_t sse_blocked = 0;
  /// CLI faults (CPL above IOPL); changes as seldom.
  uint8_t cli_blocked = 0;
  /// What CpuKind::tcg knows of the flags where the present block began, or where the last slow path ended.
  LazyFlags lazy_flags = kLazyUnknown;
  const JumpTarget* jumps = nullptr;       ///< the jump cache of the present mode
  const uint8_t* next_code = nullptr;      ///< of an indirect call, while its return address is pushed
  const uint8_t* string_source = nullptr;  ///< of REP MOVS, while its destination is looked for
  uint64_t string_end = 0;                 ///< RSI behind it, while it moves
};

}  // namespace dejavm::soft
