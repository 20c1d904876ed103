// Where QEMU's TCG (version 7.2), the CPU of the lab's KVM (tests/lab/kvm_lab.sh), and soft's model of it (CpuKind::tcg)
// differ, and what of QEMU explains it. What guests may meet is modelled instead (engine/soft/tcg_flags.h).
#pragma once

#include <optional>
#include <string>

#include "guests.h"
#include "test_case.h"

namespace dejavm::differential {

/// TCG takes the bytes for another instruction, or for none; no compiler emits them.
bool tcg_misreads(const RandomInstruction& random);

/// As known_difference() (known_differences.h).
std::optional<std::string> known_difference_on_tcg(const TestCase& test, Mode mode, const Outcome& kvm, const Outcome& soft);

}  // namespace dejavm::differential
