// Computes without any exit, in functions that return, for TICKS_SECONDS under a timer of TICKS_HERTZ, and tells how many of
// the timer's edges came as interrupts and how late. The time is the HPET's counter, which the handler reads.
#include "lib/lib.h"

#ifndef TICKS_SECONDS
#define TICKS_SECONDS 2
#endif
#ifndef TICKS_HERTZ
#define TICKS_HERTZ 250
#endif
#define HPET 0xfed00000u
enum {
  HPET_PERIOD = 4,  // upper half of the capabilities: a tick in femtoseconds
  HPET_CONFIG = 0x10,
  HPET_ENABLE = 1,
  HPET_COUNTER = 0xf0,
  TABLE_WORDS = 512,
  FS_PER_NS = 1000000,
  NS_PER_US = 1000,
  PIT_INPUT_HERTZ = 1193182,
  BUCKETS = 1000,  // of 100 us
  BUCKET_US = 100,
};

static uint64_t table[TABLE_WORDS];
static uint64_t start_ns, served_ns;
static const uint64_t period_ns = UINT64_C(1000000000) * (PIT_INPUT_HERTZ / TICKS_HERTZ) / PIT_INPUT_HERTZ;
static volatile uint64_t ticks, last_ns;
static unsigned late[BUCKETS];
static uint64_t worst_us;

static uint64_t now_ns(void) { return mmio_read64(HPET + HPET_COUNTER) * (mmio_read32(HPET + HPET_PERIOD) / FS_PER_NS); }

// The interrupt is that of the first edge behind the last one served; further edges have merged with it.
static void timer_interrupt(void) {
  uint64_t now = now_ns() - start_ns;
  uint64_t edge = (served_ns / period_ns + 1) * period_ns;
  uint64_t us = now > edge ? (now - edge) / NS_PER_US : 0;
  late[us / BUCKET_US < BUCKETS ? us / BUCKET_US : BUCKETS - 1]++;
  if (us > worst_us) worst_us = us;
  served_ns = now;
  last_ns = now;
  ticks++;
}

static __attribute__((noinline)) uint64_t hash_word(uint64_t hash, unsigned i) {
  table[i] = mix(hash, table[i]);
  return table[i];
}

static __attribute__((noinline)) uint64_t hash_row(uint64_t hash, unsigned row) {
  for (unsigned i = 0; i < 64; ++i) hash = hash_word(hash, (row * 64 + i) % TABLE_WORDS);
  return hash;
}

static __attribute__((noinline)) uint64_t hash_table(uint64_t hash) {
  for (unsigned row = 0; row < TABLE_WORDS / 64; ++row) hash = hash_row(hash, row);
  return hash;
}

static unsigned late_of_share(unsigned percent) {
  uint64_t sum = 0;
  unsigned bucket = 0;
  while (bucket < BUCKETS - 1 && (sum += late[bucket]) * 100 < ticks * percent) bucket++;
  return (bucket + 1) * BUCKET_US;
}

int main(void) {
  console_init();
  irq_install(IRQ_TIMER, timer_interrupt);
  mmio_write64(HPET + HPET_CONFIG, HPET_ENABLE);
  timer_start(TICKS_HERTZ);
  start_ns = now_ns();
  interrupts_enable();
  uint64_t hash = 1;
  while (last_ns < UINT64_C(1000000000) * TICKS_SECONDS) hash = hash_table(hash);
  interrupts_disable();
  uint64_t edges = last_ns / period_ns;
  print("ticks: %u of %u edges served, at most %u us late for half of them, %u us for 99 %%, worst %u us\n", (unsigned)ticks,
        (unsigned)edges, late_of_share(50), late_of_share(99), (unsigned)worst_us);
  return kExitOk;
}
