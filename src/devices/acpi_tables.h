// The ACPI tables of the `pc` machine. Sources: ACPI specification 6.3, section 5.2 (FADT 5.2.9, FACS 5.2.10, MADT 5.2.12);
// IA-PC HPET specification 1.0a, section 3.2.4; Microsoft's WAET specification; QEMU's -M pc for what they say.
#pragma once

#include "devices/acpi_image.h"
#include "devices/pc_memory_map.h"

namespace dejavm::devices {

struct AcpiConfig {
  RamSplit ram;
  /// Where the power management function decodes its ports now: firmware chooses that.
  uint16_t pm_base = 0;
};

/// FACS, DSDT (acpi/pc.asl), SSDT (the PCI windows), FADT, MADT, HPET, WAET, RSDT and the root pointer. Sizes do not depend
/// on the configuration.
AcpiImage pc_acpi_tables(const AcpiConfig& config);

/// The compiled DSDT.
ByteSpan pc_dsdt();

}  // namespace dejavm::devices
