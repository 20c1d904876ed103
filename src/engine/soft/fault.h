// How an instruction ends before it is complete. These are thrown by whatever finds out, deep in an instruction, and caught
// in one place (Core::run); they never leave this folder. Nothing of the instruction may be visible then: see core.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace dejavm::soft {

/// Exception vectors (AMD64 APM volume 2, section 8.2).
enum Vector : uint8_t {
  kDivideError = 0,
  kDebug = 1,
  kNmi = 2,
  kBreakpoint = 3,
  kOverflow = 4,
  kBoundRange = 5,
  kInvalidOpcode = 6,
  kDeviceNotAvailable = 7,
  kDoubleFault = 8,
  kInvalidTss = 10,
  kSegmentNotPresent = 11,
  kStackFault = 12,
  kGeneralProtection = 13,
  kPageFault = 14,
  kX87Fault = 16,
  kAlignmentCheck = 17,
  kSimdFault = 19,
};

/// The guest's exception.
struct GuestFault {
  uint8_t vector = 0;
  std::optional<uint32_t> error_code;
  /// #DB after a completed instruction: RIP is what is pushed, already past the instruction, which has counted as a step.
  bool trap = false;
};

/// The instruction needs an answer from outside; Core::leaving says which. It is executed again from its start.
struct LeaveForAnswer {};

/// The engine cannot run this guest any further; becomes the Error of Vcpu::run().
struct EngineFailure {
  std::string what;
  std::string next;
};

[[noreturn]] inline void raise(Vector vector) { throw GuestFault{vector, std::nullopt}; }
[[noreturn]] inline void raise(Vector vector, uint32_t error_code) { throw GuestFault{vector, error_code}; }
[[noreturn]] inline void raise_gp() { raise(kGeneralProtection, 0); }

}  // namespace dejavm::soft
