// The events of a trace, as values (docs/determinism.md is normative for their meaning, docs/trace-format.md for their
// bytes).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "vm/access.h"
#include "vm/address.h"
#include "vm/cpu_state.h"
#include "vm/device.h"
#include "vm/guest_memory.h"

namespace dejavm::trace {

/// The whole state at a point that has no event of its own: replay finds it by comparing.
struct MatchedState {
  vm::CpuState cpu;
  uint64_t ram_digest = 0;
  bool operator==(const MatchedState&) const = default;
};

/// Where an asynchronous event enters, counted from the event before it (docs/determinism.md, "placements").
enum class Placement : uint8_t { boundary = 0, window = 1, steps = 2, state = 3 };

struct Where {
  Placement placement = Placement::boundary;
  uint64_t steps = 0;                         ///< Placement::steps
  std::shared_ptr<const MatchedState> state;  ///< Placement::state, never null there
};

// Numbered events.

/// One transfer of one element.
struct AccessEvent {
  vm::Access access;
  /// This access belongs to the same instruction as the event before it (which therefore "continues").
  bool joins_previous = false;
  /// Linear address of the instruction, where the engine knew it.
  std::optional<uint64_t> instruction;
};
struct InterruptEvent {
  uint8_t vector = 0;
  Where where;
};
struct NmiEvent {
  Where where;
};
/// A device (or the VMM) wrote guest memory: bytes at an offset of the backing (docs/trace-format.md, "memory").
struct MemoryWriteEvent {
  uint64_t offset = 0;
  Bytes bytes;
  Where where;
};
/// The VMM set the whole CPU state.
struct CpuStateEvent {
  std::shared_ptr<const vm::CpuState> cpu;
};
/// The CPU itself answered and the engine could trap it: an MSR. `fault`: it answered with #GP.
struct CpuReadEvent {
  uint32_t msr = 0;
  bool write = false;
  uint64_t value = 0;  ///< what RDMSR gave, or what WRMSR wrote (checked at replay)
  bool fault = false;
};
/// The memory map or the device table changed.
struct MemoryMapEvent {
  std::vector<vm::MemoryRange> memory;
  std::vector<vm::DeviceRegion> devices;
  Where where;
};
/// HLT completed.
struct HaltEvent {};
/// The machine was reset: the CPU is in vm::reset_state(), RAM is kept. `triple_fault`: by a shutdown of the CPU.
struct ResetEvent {
  bool triple_fault = false;
  std::string cause;
};

// Not numbered.

/// The state at this consistent point, to be compared at replay.
struct DigestEvent {
  uint64_t cpu_hash = 0;
  uint64_t ram_digest = 0;
  /// (page number, hash) of the RAM pages that changed since the last digest; a long list is cut and `pages_cut` set.
  std::vector<std::pair<uint64_t, uint64_t>> pages;
  bool pages_cut = false;
};
/// Counts of steps since the start, at a keyframe of an engine that counts them.
struct StepCounts {
  uint64_t here = 0;
  uint64_t last_event = 0;  ///< where Where::steps counts from
  bool operator==(const StepCounts&) const = default;
};
/// A keyframe stands in the file for this point (Reader::keyframe).
struct KeyframeEvent {
  uint64_t index = 0;
};
struct AnnotationEvent {
  std::string text;
};

using EventBody = std::variant<AccessEvent, InterruptEvent, NmiEvent, MemoryWriteEvent, CpuStateEvent, CpuReadEvent,
                               MemoryMapEvent, HaltEvent, ResetEvent, DigestEvent, KeyframeEvent, AnnotationEvent>;

/// An event with the time of its recording (microseconds since the recording began; 0 throughout where none was kept).
struct Event {
  EventBody body;
  uint64_t time_us = 0;
};

/// True for the events that the guest can tell and that are counted k = 0, 1, 2, ...
inline bool is_numbered(const EventBody& body) {
  return !std::holds_alternative<DigestEvent>(body) && !std::holds_alternative<KeyframeEvent>(body) &&
         !std::holds_alternative<AnnotationEvent>(body);
}

/// The cli's word for a kind: access irq nmi dma cpu msr map halt reset digest keyframe annotation.
const char* kind_name(const EventBody& body);

}  // namespace dejavm::trace
