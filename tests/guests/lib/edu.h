// QEMU's educational PCI device (docs/specs/edu in QEMU's sources describes the registers).
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/io.h"
#include "lib/paging.h"

#define EDU_PHYSICAL 0xfeb00000u    // BAR 0, 1 MiB
#define EDU_VIRTUAL WINDOW_VIRTUAL  // where edu_init() maps it

enum edu_register {
  EDU_IDENTIFICATION = 0x00,
  EDU_LIVENESS = 0x04,
  EDU_FACTORIAL = 0x08,
  EDU_STATUS = 0x20,
  EDU_INTERRUPT_STATUS = 0x24,
  EDU_INTERRUPT_RAISE = 0x60,
  EDU_INTERRUPT_ACKNOWLEDGE = 0x64,
  EDU_DMA_SOURCE = 0x80,
  EDU_DMA_DESTINATION = 0x88,
  EDU_DMA_COUNT = 0x90,
  EDU_DMA_COMMAND = 0x98,
};

enum {
  EDU_PAGES = 256,
  EDU_STATUS_COMPUTING = 0x01,
  EDU_STATUS_INTERRUPT = 0x80,
  EDU_DMA_START = 0x1,
  EDU_DMA_FROM_DEVICE = 0x2,
  EDU_DMA_INTERRUPT = 0x4,
  EDU_IRQ_FACTORIAL = 0x001,
  EDU_IRQ_DMA = 0x100,
  EDU_BUFFER = 0x40000,  // the device's own memory, as its DMA addresses it
  EDU_BUFFER_BYTES = 4096,
};

// Finds the device, places and maps BAR 0 and routes its interrupt to IRQ_PCI. False when there is no such device; its
// addresses are mapped nevertheless, so that accesses to an unclaimed address can be made.
bool edu_init(void);

GUEST_INLINE uint32_t edu_read(enum edu_register reg) { return mmio_read32(EDU_VIRTUAL + (uintptr_t)reg); }
GUEST_INLINE void edu_write(enum edu_register reg, uint32_t value) { mmio_write32(EDU_VIRTUAL + (uintptr_t)reg, value); }
