// Segment descriptors: reading them from the guest's tables, and loading segment registers with all their checks
// (AMD64 APM volume 2, chapter 4).
#pragma once

#include <cstdint>

#include "engine/soft/core.h"

namespace dejavm::soft {

/// A descriptor as a hidden part (limit in bytes; for system descriptors of long mode with the upper half of the base).
vm::Segment unpack_descriptor(uint16_t selector, uint64_t low, uint64_t high = 0);
/// The 8 bytes of a descriptor that a selector names; raises `fault`(selector) outside the table.
uint64_t read_descriptor(Core& core, uint16_t selector, Vector fault = kGeneralProtection);

/// MOV, POP, LDS to ES, SS, DS, FS, GS. Real and virtual-8086 mode: selector * 16. Raises #GP, #SS, #NP with the selector.
void load_segment(Core& core, vm::SegmentName name, uint16_t selector);
/// CS, where the caller has made the checks of its transfer: sets CS with `cpl` as RPL and marks the descriptor accessed.
void load_code_segment(Core& core, uint16_t selector, uint64_t descriptor, unsigned cpl);

// ---- For the rooms of system instructions, transfers and task switches.

inline bool is_null(uint16_t selector) { return (selector & ~3u) == 0; }
/// The error code that names a selector.
inline uint32_t selector_error(uint16_t selector) { return selector & ~3u; }

/// Fields of 8 descriptor bytes.
inline unsigned descriptor_type(uint64_t descriptor) { return descriptor >> 40 & 15; }
inline bool descriptor_is_system(uint64_t descriptor) { return (descriptor >> 44 & 1) == 0; }
inline unsigned descriptor_dpl(uint64_t descriptor) { return descriptor >> 45 & 3; }
inline bool descriptor_present(uint64_t descriptor) { return (descriptor >> 47 & 1) != 0; }
inline bool descriptor_is_code(uint64_t descriptor) { return (descriptor >> 43 & 3) == 3; }
inline bool descriptor_conforms(uint64_t descriptor) { return (descriptor >> 42 & 7) == 7; }
inline bool descriptor_is_64_bit_code(uint64_t descriptor) { return (descriptor >> 53 & 1) != 0; }
inline bool descriptor_is_32_bit(uint64_t descriptor) { return (descriptor >> 54 & 1) != 0; }
/// What a task gate, call gate or interrupt gate leads to.
inline uint16_t gate_selector(uint64_t gate) { return static_cast<uint16_t>(gate >> 16); }

/// System descriptor types; bit 3 set in gates and TSSs: 32 bits (in long mode: 64).
enum SystemType : uint8_t {
  kTss16 = 1,
  kLdt = 2,
  kTss16Busy = 3,
  kCallGate16 = 4,
  kTaskGate = 5,
  kInterruptGate16 = 6,
  kTrapGate16 = 7,
  kTss32 = 9,
  kTss32Busy = 11,
  kCallGate32 = 12,
  kInterruptGate32 = 14,
  kTrapGate32 = 15,
};

/// False when the selector names nothing in its table. The address of a descriptor's first byte is linear.
bool find_descriptor(const Core& core, uint16_t selector, unsigned size, uint64_t& address);
/// The second 8 bytes of a system descriptor of long mode; raises #GP(selector) outside the table.
uint64_t read_descriptor_high(Core& core, uint16_t selector);
/// Sets the accessed bit in the guest's table where it is clear.
void mark_accessed(Core& core, uint16_t selector, uint64_t descriptor);
/// The byte of a system descriptor that has its type.
void write_descriptor_type(Core& core, uint16_t selector, uint64_t descriptor, unsigned type);

/// A segment register that names nothing.
vm::Segment null_segment(uint16_t selector);
/// As real mode (keeps limit and attributes) or virtual-8086 mode (64 KiB of data for CPL 3) loads it.
vm::Segment shifted_segment(const Core& core, vm::SegmentName name, uint16_t selector);
/// SS as 64-bit code may have it: a null selector, with the CPL it still has to carry.
vm::Segment null_stack_segment(uint16_t selector, unsigned cpl);

/// The stack segment for code at `cpl`, its descriptor read and checked, but neither loaded nor marked accessed. Null
/// selectors are the caller's. Raises `fault`(selector | ext), #SS(selector | ext) when it is not present.
uint64_t read_stack_descriptor(Core& core, uint16_t selector, unsigned cpl, Vector fault, uint32_t ext = 0);
/// Who loads a segment register: a move to it, or a jump, call, return, interrupt or task switch.
enum class Loader : uint8_t { move, transfer };
/// Marks accessed (not so a transfer of CpuKind::tcg) and unpacks.
vm::Segment take_segment(Core& core, uint16_t selector, uint64_t descriptor, Loader loader);

}  // namespace dejavm::soft
