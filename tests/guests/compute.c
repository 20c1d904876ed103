// Computes without any exit under a timer of 100 Hz, for COMPUTE_TICKS ticks: what it has computed then, and the frames of
// its interrupts, tell where each came.
#include "lib/lib.h"

enum { REGISTER, MEMORY, TABLE, SSE };
#ifndef COMPUTE_KIND
#define COMPUTE_KIND REGISTER
#endif
#define COMPUTE_TICKS 8
enum { TIMER_HERTZ = 100, TABLE_WORDS = 512 };

static volatile uint64_t ticks, memory_counter;
static uint64_t table[TABLE_WORDS];
static volatile uint64_t places;

static void timer_interrupt(void) {
  ticks++;
  places = mix(places, memory_counter);
}

// The loops are of few instructions that any KVM interprets.
static uint64_t count_in_register(void) {
  uint64_t counter = 0;
  __asm__ volatile("1: inc %0; cmpq %2, %1; jb 1b" : "+r"(counter) : "m"(ticks), "i"(COMPUTE_TICKS) : "memory", "cc");
  return counter;
}

static uint64_t count_in_memory(void) {
  __asm__ volatile("1: incq %0; cmpq %2, %1; jb 1b"
                   : "+m"(memory_counter)
                   : "m"(ticks), "i"(COMPUTE_TICKS)
                   : "memory", "cc");
  return memory_counter;
}

static uint64_t hash_table(void) {
  uint64_t hash = 1;
  for (unsigned i = 0; ticks < COMPUTE_TICKS; i = (i + 1) % TABLE_WORDS) {
    hash = mix(hash, table[i]);
    table[i] = hash;
  }
  return hash;
}

static uint64_t hash_with_sse(void) {
  uint64_t hash;
  __asm__ volatile(
      "mov %%cr4, %%rax; or $0x200, %%eax; mov %%rax, %%cr4;"  // OSFXSR
      "pxor %%xmm0, %%xmm0; pcmpeqd %%xmm1, %%xmm1;"
      "1: psubq %%xmm1, %%xmm0; movdqa %%xmm0, %%xmm2; psllq $7, %%xmm2; pxor %%xmm2, %%xmm0; movdqu %%xmm0, (%3);"
      "cmpq %2, %1; jb 1b; movq %%xmm0, %0"
      : "=r"(hash)
      : "m"(ticks), "i"(COMPUTE_TICKS), "r"(table)
      : "rax", "memory", "cc");
  return hash;
}

int main(void) {
  console_init();
  irq_install(IRQ_TIMER, timer_interrupt);
  for (unsigned i = 0; i < TABLE_WORDS; ++i) table[i] = i * 0x9e3779b97f4a7c15;
  timer_start(TIMER_HERTZ);
  interrupts_enable();
  uint64_t result = COMPUTE_KIND == REGISTER ? count_in_register()
                    : COMPUTE_KIND == MEMORY ? count_in_memory()
                    : COMPUTE_KIND == TABLE  ? hash_table()
                                             : hash_with_sse();
  interrupts_disable();
  print("compute: %u ticks, result %X, places %X\n", (unsigned)ticks, result, places);
  return kExitOk;
}
