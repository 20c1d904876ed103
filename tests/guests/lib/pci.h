// PCI configuration, mechanism #1, bus 0. The guests run without firmware, so they give devices their addresses and
// interrupt lines themselves.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
  PCI_CONFIG_ADDRESS = 0xcf8,
  PCI_CONFIG_DATA = 0xcfc,
};

struct pci_device {
  uint8_t slot, function;
};

uint32_t pci_read32(struct pci_device device, uint8_t offset);
void pci_write32(struct pci_device device, uint8_t offset, uint32_t value);

// Finds the first device with these ids; false when there is none.
bool pci_find(uint16_t vendor, uint16_t id, struct pci_device* found);

// Puts a 32-bit memory BAR (0-5) at `base`, turns memory decoding and bus mastering on.
void pci_assign_bar(struct pci_device device, unsigned bar, uint32_t base);

// Routes PIRQA-D of the PIIX3 to IRQ_PCI and makes that line level-triggered.
void pci_route_interrupts(void);
