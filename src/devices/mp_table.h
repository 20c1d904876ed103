// The multiprocessor table, for guests that know no ACPI. Source: Intel MultiProcessor Specification 1.4, chapter 4; which
// entries there are: as SeaBIOS writes them for QEMU's -M pc.
#pragma once

#include <vector>

#include "base/bytes.h"

namespace dejavm::devices {

/// A PCI function's interrupt pin and the line that it comes in at.
struct MpPciInterrupt {
  unsigned slot = 0;
  unsigned pin = 0;  ///< 0 = INTA
  unsigned line = 0;
  bool operator==(const MpPciInterrupt&) const = default;
};

struct MpConfig {
  uint32_t cpu_signature = 0;  ///< CPUID leaf 1, EAX
  uint32_t cpu_features = 0;   ///< CPUID leaf 1, EDX
  std::vector<MpPciInterrupt> pci;
};

/// The floating pointer and behind it the configuration table that it points to, for a place at `address` (a multiple of 16
/// where guests search: 0xf0000 to 0xfffff). One processor, the buses PCI and ISA, I/O APIC 0 with the ISA lines at the pins
/// of their numbers, the timer at pin 2. The lines 5, 9, 10 and 11 are PCI's alone.
Bytes mp_table(uint32_t address, const MpConfig& config);

}  // namespace dejavm::devices
