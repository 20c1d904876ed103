// Where QEMU's TCG (version 7.2), the CPU of the lab's KVM (tests/lab/kvm_lab.sh), and soft's model of it (CpuKind::tcg)
// differ, and what of QEMU explains it. What guests may meet is modelled instead (engine/soft/tcg_flags.h).
#pragma once

#include <string>
#include <vector>

#include "guests.h"
#include "test_case.h"

namespace dejavm::differential {

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

}  // namespace dejavm::differential
