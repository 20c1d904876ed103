// Addresses. The low 16 MiB and 0xe0000000-0xffffffff are mapped at their physical addresses. The window is 2 MiB of
// 4 KiB pages at an address that differs from every physical one, where drivers map device registers.
#pragma once

#include <stdint.h>

#define WINDOW_VIRTUAL 0xffffc90000000000ull

enum {
  PAGE_BYTES = 4096,
  WINDOW_PAGES = 512,
  PAGE_PRESENT = 0x001,
  PAGE_WRITABLE = 0x002,
  PAGE_UNCACHED = 0x018,
  PAGE_ACCESSED_DIRTY = 0x060,
  PAGE_RAM = PAGE_PRESENT | PAGE_WRITABLE,
  PAGE_DEVICE = PAGE_PRESENT | PAGE_WRITABLE | PAGE_UNCACHED | PAGE_ACCESSED_DIRTY,
};

// Maps `pages` pages of the window, from its page `first` on, to physical memory. Returns their virtual address.
uintptr_t window_map(unsigned first, uint64_t physical, unsigned pages, uint64_t flags);
