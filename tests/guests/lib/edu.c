#include "lib/edu.h"

#include "lib/pci.h"

enum {
  EDU_VENDOR = 0x1234,
  EDU_DEVICE = 0x11e8,
};

bool edu_init(void) {
  window_map(0, EDU_PHYSICAL, EDU_PAGES, PAGE_DEVICE);
  struct pci_device device;
  if (!pci_find(EDU_VENDOR, EDU_DEVICE, &device)) return false;
  pci_assign_bar(device, 0, EDU_PHYSICAL);
  pci_route_interrupts();
  return true;
}
