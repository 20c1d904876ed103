// Makes the RDTSC of a Linux kernel an event of the recording.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "vm/cpu_state.h"
#include "vm/guest_memory.h"

namespace dejavm::record {

/// KVM cannot trap RDTSC. RDMSR has two bytes too, answers in EAX and EDX, and exits for every register that KVM is not
/// allowed to answer itself: each RDTSC of the kernel's text becomes one when the kernel is first seen at its final address,
/// which on Linux is before it has read the time. A replay needs to know nothing of it: the patches are memory writes and
/// the answers are MSR reads of the trace. Where RCX happens to be one of vm::kStateMsrs the answer is that register, which
/// is the same at replay. What users execute is left.
class RdtscPatch {
 public:
  /// At a consistent point right behind an event. True: this was the moment, and it was tried.
  bool attempt(const vm::CpuState& cpu, vm::GuestMemory& memory);

  /// Of an RDMSR at this linear address: whether it stands for an RDTSC.
  bool patched(uint64_t address) const { return sites_.count(address) != 0; }
  bool done() const { return done_; }
  /// "rdtsc: 107 sites in the kernel's text at 0xffffffff81000000 made rdmsr: 0x..., 0x...", or why none.
  const std::string& report() const { return report_; }

 private:
  bool done_ = false;
  std::set<uint64_t> sites_;
  std::string report_;
};

}  // namespace dejavm::record
