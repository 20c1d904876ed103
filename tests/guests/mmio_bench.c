// BENCH_READS reads of one device register in the tightest loop there is, for measuring the cost of an exit.
// Without an edu device the same address is read, unclaimed.
#include "lib/lib.h"

#ifndef BENCH_READS
#define BENCH_READS 600000
#endif

__attribute__((noinline)) static uint64_t bench_loop(uintptr_t address, uint64_t reads) {
  uint64_t sum = 0;
  uint64_t value;
  __asm__ volatile(
      "bench_loop_start:\n"
      "  movl (%[address]), %k[value]\n"
      "  addq %[value], %[sum]\n"
      "  decq %[reads]\n"
      "  jnz bench_loop_start\n"
      "bench_loop_end:\n"
      : [value] "=&r"(value), [sum] "+r"(sum), [reads] "+r"(reads)
      : [address] "r"(address)
      : "memory", "cc");
  return sum;
}

int main(void) {
  console_init();
  const char* device = edu_init() ? "edu" : "an unclaimed address";
  print("mmio_bench: %u reads of %s\n", BENCH_READS, device);
  uint64_t sum = bench_loop(EDU_VIRTUAL + EDU_IDENTIFICATION, BENCH_READS);
  print("mmio_bench: done, sum %X\n", sum);
  return kExitOk;
}
