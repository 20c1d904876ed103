// What this host's KVM really does, found by running tiny guests: an ioctl that succeeds proves nothing.
#pragma once

#include "base/result.h"
#include "engine/kvm/kvm_host.h"

namespace dejavm::kvm {

/// Tries single-step, hardware breakpoints (real and long mode, ring 0), whether the interrupt window is exact, and the
/// quirks. An ability counts only where every try worked.
Result<ProbeResult> probe(const KvmSystem& system);

}  // namespace dejavm::kvm
