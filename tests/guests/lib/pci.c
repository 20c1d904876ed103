#include "lib/pci.h"

#include "lib/interrupts.h"
#include "lib/io.h"

enum {
  PCI_ID = 0x00,
  PCI_COMMAND = 0x04,
  PCI_COMMAND_MEMORY = 0x02,
  PCI_COMMAND_MASTER = 0x04,
  PCI_HEADER_TYPE = 0x0c,  // byte 2 of this dword
  PCI_HEADER_MULTIFUNCTION = 0x00800000,
  PCI_BAR0 = 0x10,
  PIIX3_VENDOR = 0x8086,
  PIIX3_ISA = 0x7000,
  PIIX3_PIRQ_ROUTES = 0x60,  // one byte a line, PIRQA first
};

static void select_register(struct pci_device device, uint8_t offset) {
  port_write32(PCI_CONFIG_ADDRESS,
               0x80000000u | (uint32_t)device.slot << 11 | (uint32_t)device.function << 8 | (offset & 0xfcu));
}

uint32_t pci_read32(struct pci_device device, uint8_t offset) {
  select_register(device, offset);
  return port_read32(PCI_CONFIG_DATA);
}

void pci_write32(struct pci_device device, uint8_t offset, uint32_t value) {
  select_register(device, offset);
  port_write32(PCI_CONFIG_DATA, value);
}

bool pci_find(uint16_t vendor, uint16_t id, struct pci_device* found) {
  for (uint8_t slot = 0; slot < 32; ++slot) {
    uint8_t functions = 1;
    for (uint8_t function = 0; function < functions; ++function) {
      struct pci_device device = {slot, function};
      uint32_t ids = pci_read32(device, PCI_ID);
      if (ids == ((uint32_t)id << 16 | vendor)) {
        *found = device;
        return true;
      }
      if (ids == 0xffffffff) continue;
      if (function == 0 && (pci_read32(device, PCI_HEADER_TYPE) & PCI_HEADER_MULTIFUNCTION) != 0) functions = 8;
    }
  }
  return false;
}

void pci_assign_bar(struct pci_device device, unsigned bar, uint32_t base) {
  pci_write32(device, (uint8_t)(PCI_BAR0 + 4 * bar), base);
  uint32_t command = pci_read32(device, PCI_COMMAND) & 0xffff;
  pci_write32(device, PCI_COMMAND, command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

void pci_route_interrupts(void) {
  struct pci_device bridge;
  if (!pci_find(PIIX3_VENDOR, PIIX3_ISA, &bridge)) return;
  pci_write32(bridge, PIIX3_PIRQ_ROUTES, 0x01010101u * IRQ_PCI);
  irq_set_level_triggered(IRQ_PCI);
}
