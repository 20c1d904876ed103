// The tables that a guest without firmware finds, where firmware would have left them.
#pragma once

#include "devices/acpi_tables.h"
#include "devices/mp_table.h"
#include "vm/guest_memory.h"

namespace dejavm::devices {

/// Where the root pointer of ACPI stands; a guest that is not told finds it by searching from 0xe0000 to 0xfffff. The MP
/// table and ACPI's tables follow it, below 1 MiB.
inline constexpr uint32_t kBootRsdp = 0xf0000;

/// Writes them. The area is RAM.
Status write_boot_tables(vm::GuestMemory& memory, const AcpiConfig& acpi, const MpConfig& mp);

}  // namespace dejavm::devices
