// Keeps in RAM what RDTSC tells it, and tells no device: its accesses replay whatever the time was, its digests do not.
#include "lib/lib.h"

enum { TIMES = 8 };

static volatile uint64_t times[TIMES];

int main(void) {
  console_init();
  for (unsigned i = 0; i < TIMES; i++) {
    uint32_t low, high;
    __asm__ volatile("rdtsc_here: rdtsc" : "=a"(low), "=d"(high));
    times[i] = (uint64_t)high << 32 | low;
  }
  print("tsc_keeper: %u times\n", TIMES);
  return kExitOk;
}
