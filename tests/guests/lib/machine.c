#include "lib/machine.h"

#include "lib/io.h"
#include "lib/pci.h"

enum {
  DEBUG_EXIT_PORT = 0x501,
  PIIX4_VENDOR = 0x8086,
  PIIX4_PM = 0x7113,
  PIIX4_PMBASE = 0x40,
  PIIX4_PMREGMISC = 0x80,
  PIIX4_PM_IO_ENABLE = 0x01,
  PM_IO_BASE = 0x600,
  PM1_CONTROL = 0x04,
  PM1_SLEEP_ENABLE = 0x2000,  // with sleep type 0, soft off
};

void machine_exit(int value) {
  port_write8(DEBUG_EXIT_PORT, (uint8_t)value);
  machine_power_off();
}

void machine_power_off(void) {
  struct pci_device pm;
  if (pci_find(PIIX4_VENDOR, PIIX4_PM, &pm)) {
    pci_write32(pm, PIIX4_PMBASE, PM_IO_BASE | 1);
    pci_write32(pm, PIIX4_PMREGMISC, PIIX4_PM_IO_ENABLE);
    port_write16(PM_IO_BASE + PM1_CONTROL, PM1_SLEEP_ENABLE);
  }
  for (;;) __asm__ volatile("cli; hlt");
}
