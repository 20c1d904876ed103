#include "lib/paging.h"

extern volatile uint64_t window_page_table[WINDOW_PAGES];  // start.S

uintptr_t window_map(unsigned first, uint64_t physical, unsigned pages, uint64_t flags) {
  uintptr_t start = WINDOW_VIRTUAL + (uintptr_t)first * PAGE_BYTES;
  for (unsigned page = 0; page < pages; ++page) {
    window_page_table[first + page] = (physical + (uint64_t)page * PAGE_BYTES) | flags;
    __asm__ volatile("invlpg (%0)" : : "r"(start + (uintptr_t)page * PAGE_BYTES) : "memory");
  }
  return start;
}
