// What instructions do to the status flags, and which of them the host may run.
#pragma once

#include <Zydis/Zydis.h>

#include <optional>

#include "engine/soft/features.h"

namespace dejavm::soft {

/// An integer instruction that translated code may contain.
struct FlagEffect {
  enum class Writes : uint8_t {
    none,
    all,   ///< all six, whatever they were before
    some,  ///< the others stay as they were (also: perhaps none, by a count in CL)
  };
  enum class Reads : uint8_t { none, carry, any };

  Writes writes = Writes::none;
  Reads reads = Reads::none;
  bool keeps_carry_only = false;  ///< with Writes::some: INC and DEC
  /// It sets flags that the manuals leave undefined: AF alone, or others, too; BSF and BSR are a kind of their own.
  enum class Undefined : uint8_t { none, half_carry, others, scan };
  Undefined undefined = Undefined::none;
};

/// nullopt: not on the list; the interpreter runs it.
std::optional<FlagEffect> flag_effect(const ZydisDecodedInstruction& insn);

/// What of the undefined flags this host sets as the guest's CPU does.
struct HostFlags {
  bool half_carry = false;  ///< AF after AND, OR, XOR and TEST: in all CPUs that are known; a sample is looked at
  bool others = false;      ///< on an AMD, where samples come out right: an emulator may call itself AMD
  bool scans = false;       ///< BSF and BSR: on some of those

  static HostFlags of_this_host(const Features& features);
};

}  // namespace dejavm::soft
