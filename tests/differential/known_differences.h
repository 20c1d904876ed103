// Where KVM and the soft engine differ and why that is right, or not ours to change.
#pragma once

#include <optional>
#include <string>

#include "guests.h"
#include "test_case.h"

namespace dejavm::differential {

/// Whether a difference of this instruction is known that later instructions would spread: it is run alone.
bool may_differ(const RandomInstruction& random, const GuestImage& image);

/// The reason of a difference that is known; nullopt: a bug.
std::optional<std::string> known_difference(const TestCase& test, const GuestImage& image, const Outcome& kvm,
                                            const Outcome& soft);

}  // namespace dejavm::differential
