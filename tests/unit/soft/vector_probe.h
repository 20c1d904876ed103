// Which exception an instruction of 64-bit code raises.
#pragma once

#include <initializer_list>
#include <optional>

#include "soft_fixture.h"

namespace dejavm::soft {

/// Every vector has a handler of its own. RSI points to kData until the test changes it.
class VectorProbe {
 public:
  VectorProbe() {
    guest_.long_mode();
    for (uint64_t vector = 0; vector < 32; ++vector) {
      guest_.poke(kIdt + 16 * vector, (kHandlers + vector) | uint64_t{kCode64} << 16 | uint64_t{0x8e} << 40);
    }
    guest_.gpr(vm::rsi) = kData;
  }

  /// Runs one step at kCode; nothing when no handler is entered.
  std::optional<unsigned> vector_of(std::initializer_list<int> instruction) {
    guest_.code(instruction);
    guest_.cpu().rip = kCode;
    guest_.gpr(vm::rsp) = kStack;
    guest_.step();
    uint64_t rip = guest_.cpu().rip;
    if (rip < kHandlers || rip >= kHandlers + 32) return std::nullopt;
    return static_cast<unsigned>(rip - kHandlers);
  }
  SoftGuest& guest() { return guest_; }

 private:
  static constexpr uint64_t kHandlers = 0xa000;
  SoftGuest guest_;
};

}  // namespace dejavm::soft
