// Guests for tests of exceptions, transfers and segments: every vector has a handler of its own.
#pragma once

#include <gtest/gtest.h>

#include "soft_fixture.h"

namespace dejavm::soft {

inline constexpr uint64_t kHandlers = 0xa000;     ///< vector n enters at kHandlers + 16 n
inline constexpr uint64_t kTssBase = 0xa0000;     ///< of kTss
inline constexpr uint64_t kInnerStack = 0x30000;  ///< ESP0 or RSP0 of that TSS
inline constexpr uint16_t kFree = 0x50;           ///< the first selector that the fixture's GDT does not use

/// dejavm64-v1 with TSC, RDTSCP, RDRAND, RDSEED, FSGSBASE, SMAP and UMIP.
vm::CpuModel rich_model();

class SystemTest : public testing::Test {
 protected:
  explicit SystemTest(const vm::CpuModel& model = vm::dejavm64_v1()) : guest(model) {}

  void real_mode();
  void protected_mode();
  void long_mode();
  /// After protected_mode() or long_mode(): the program is at CPL 3.
  void user_mode();
  /// After protected_mode(): virtual-8086 code at 0x800:0.
  void virtual_8086_mode(unsigned iopl);

  void describe(uint16_t selector, uint64_t descriptor) { guest.poke(kGdt + (selector & ~7u), descriptor); }
  void gate(uint8_t vector, uint64_t low, uint64_t high = 0);

  /// Runs one instruction of these bytes.
  void execute(std::initializer_list<int> bytes);
  /// The vector whose handler is about to run, or -1.
  int vector();
  uint64_t stack(unsigned slot, size_t size) {
    return guest.peek(guest.cpu().segment[vm::ss].base + guest.gpr(vm::rsp) + slot * size, size);
  }
  vm::Segment& segment(vm::SegmentName name) { return guest.cpu().segment[name]; }

  SoftGuest guest;
};

}  // namespace dejavm::soft
