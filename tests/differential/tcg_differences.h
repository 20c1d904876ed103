// Where QEMU's TCG (version 7.2), the CPU of the lab's KVM (tests/lab/kvm_lab.sh), and soft's model of it (CpuKind::tcg)
// differ, and what of QEMU explains it. What guests may meet is modelled instead (engine/soft/tcg_flags.h).
#pragma once

#include <string>
#include <vector>

#include "guests.h"
#include "test_case.h"

namespace dejavm::differential {

/// TCG takes the bytes for another instruction, or for none; no compiler emits them.
bool tcg_misreads(const RandomInstruction& random);

/// What it leaves differs so that what others do with it would, too: it runs alone.
bool hides_others_on_tcg(const RandomInstruction& random);

/// The two ends of a run.
struct Ends {
  const TestCase& test;
  Mode mode;
  const Outcome& kvm;
  const std::vector<uint8_t>& kvm_ram;
  Outcome soft;  ///< make_alike() changes both
  std::vector<uint8_t> soft_ram;
  bool flags_are_none = false;  ///< an instruction of the run had what OtherFlags tells of

  bool alike() const;
  bool same_fault() const;
  /// KVM's, or where it stopped because it does not do the access to a device.
  bool did_not_finish() const { return same_fault() || kvm.kind == Outcome::Kind::stopped; }
  /// The instruction that did not get to its end, on KVM.
  const RandomInstruction* last() const { return test.at(kvm.fault ? kvm.fault->address : kvm.state.linear_rip()); }
};

/// Gives soft's end what is KVM's in everything that a reason can reach; those that changed something.
std::vector<std::string> make_alike(Ends& ends);

/// The status flags that KVM may have had otherwise than soft in front of an instruction. No reason: none.
struct OtherFlags {
  const char* reason = nullptr;
  uint64_t flags = 0;
  bool none = false;  ///< behind it RFLAGS may hold anything
};
OtherFlags other_flags_before(const RandomInstruction& random);

/// LDMXCSR and FXRSTOR.
bool loads_mxcsr(const RandomInstruction& random);

}  // namespace dejavm::differential
