// Reads RDTSC thousands of times between a hundred ticks of the timer and makes all that follows depend on it: a replay that
// begins with another count goes another way at once.
#include "lib/lib.h"

enum { TICKS = 100, READS_PER_TICK = 1000, HERTZ = 19, UNUSED_PORT = 0x80 };

static volatile unsigned ticks;
static volatile uint64_t history[64];

static void tick(void) { ticks++; }

static inline uint64_t read_tsc(void) {
  uint32_t low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
  return (uint64_t)high << 32 | low;
}

int main(void) {
  console_init();
  irq_install(IRQ_TIMER, tick);
  timer_start(HERTZ);
  uint64_t mixed = 0;
  while (ticks < TICKS) {
    for (unsigned i = 0; i < READS_PER_TICK; i++) {
      mixed = mixed * 6364136223846793005u + read_tsc();
      if (mixed >> 63 != 0) history[mixed >> 40 & 63] += mixed;
    }
    port_write8(UNUSED_PORT, (uint8_t)(mixed >> 32));
    wait_for_interrupt();
  }
  print("tsc_reader: %u ticks\n", ticks);
  return kExitOk;
}
