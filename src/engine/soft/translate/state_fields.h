// Where translated code finds the parts of Core: displacements from kState.
#pragma once

#include "engine/soft/core.h"
#include "engine/soft/translate/emitter.h"

namespace dejavm::soft {

/// Code of different modes is different: which translations it uses, and how wide addresses and the stack are.
struct TranslationMode {
  bool user = false;
  bool wide = true;  ///< 64-bit code; else 32-bit code in flat segments

  static constexpr unsigned kCount = 4;
  unsigned number() const { return (user ? 1u : 0u) + (wide ? 0u : 2u); }
  bool operator==(const TranslationMode&) const = default;
};

/// Borrows the Core, which must not move.
class StateFields {
 public:
  explicit StateFields(Core& core) : core_(core) {}

  uint8_t* state() const { return reinterpret_cast<uint8_t*>(&core_.cpu) + kStateBias; }
  Field of(const void* member) const {
    auto distance = static_cast<const uint8_t*>(member) - state();
    CHECK(distance == static_cast<int32_t>(distance));
    return {static_cast<int32_t>(distance)};
  }

  Field general(unsigned guest) const { return of(&core_.cpu.gpr[guest]); }
  Field vector(unsigned number) const { return of(&core_.cpu.fpu.xmm[number]); }
  Field rip() const { return of(&core_.cpu.rip); }
  Field segment_base(unsigned segment) const { return of(&core_.cpu.segment[segment].base); }
  Field selector(unsigned segment) const { return of(&core_.cpu.segment[segment].selector); }
  Field left() const { return of(&core_.frame.left); }
  Field flags() const { return of(&core_.frame.flags); }
  Field sse_blocked() const { return of(&core_.frame.sse_blocked); }
  Field cli_blocked() const { return of(&core_.frame.cli_blocked); }
  Field lazy_flags() const { return of(&core_.frame.lazy_flags); }
  Field rflags() const { return of(&core_.cpu.rflags); }
  Field jumps() const { return of(&core_.frame.jumps); }
  Field next_code() const { return of(&core_.frame.next_code); }
  Field string_source() const { return of(&core_.frame.string_source); }
  Field string_end() const { return of(&core_.frame.string_end); }
  /// Of the first entry.
  Field tag(TranslationMode mode, Reach reach) const { return of(&entry(mode, reach, 0).tag); }
  Field page(TranslationMode mode, Reach reach) const { return of(&entry(mode, reach, 0).page); }
  /// Of the entry for a page of code.
  Field code_key(TranslationMode mode, uint64_t linear) const { return of(&entry(mode, Reach::execute, linear).page); }

 private:
  const TlbEntry& entry(TranslationMode mode, Reach reach, uint64_t linear) const {
    return core_.memory.tlb().entry(mode.user, reach, linear);
  }

  Core& core_;
};

}  // namespace dejavm::soft
