// A guest's state as QEMU's monitor lays it out (QEMU's `info registers`, `info mem`, `info tlb`, `info mtree -f`).
#pragma once

#include <string>
#include <vector>

#include "vm/cpu_state.h"
#include "vm/device.h"
#include "vm/guest_memory.h"

namespace dejavm::cli {

/// All registers. What QEMU shows beside them and a CpuState does not have (A20, SMM, HLT) is left out.
std::string registers_text(const vm::CpuState& cpu);

/// Ranges of linear addresses with the same rights: first, behind the last, size, then u(ser), r(ead), w(rite).
std::string linear_ranges_text(const vm::CpuState& cpu, const vm::GuestMemory& memory);

/// Every page: linear, physical, and X(no execute) G(lobal) P(large) D(irty) A(ccessed) C(ache off) T(write through) U(ser)
/// W(ritable).
std::string pages_text(const vm::CpuState& cpu, const vm::GuestMemory& memory);

/// What answers where, in guest physical memory and in the I/O space.
std::string address_spaces_text(const vm::GuestMemory& memory, const std::vector<vm::DeviceRegion>& devices);

}  // namespace dejavm::cli
