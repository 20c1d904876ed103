// Ends of a guest.
#pragma once

#include <stdint.h>

enum {
  kExitOk = 0,
  kExitFailed = 1,
  kExitException = 0x7e,
};

// Ends the virtual machine through isa-debug-exit at port 0x501; the exit status of QEMU becomes (value << 1) | 1.
// Where that device is absent, powers off.
__attribute__((noreturn)) void machine_exit(int value);

// Powers off through the PIIX4's ACPI registers; stops for good where there are none.
__attribute__((noreturn)) void machine_power_off(void);
