// Keeps in RAM the flags behind BSF, of which all but ZF are undefined, in one place, and tells no device.
#include "lib/lib.h"

static volatile uint64_t flags;

int main(void) {
  console_init();
  __asm__ volatile("xor %%eax, %%eax; sub $1, %%eax; mov $6, %%eax; bsf %%eax, %%eax; pushf; popq %0"
                   : "=m"(flags)
                   :
                   : "rax", "cc", "memory");
  print("flags_keeper: done\n");
  return kExitOk;
}
