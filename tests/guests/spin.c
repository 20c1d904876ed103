// Says so, then counts in RAM for ever with interrupts off: no exit ever comes from here.
#include "lib/lib.h"

volatile uint64_t spin_counter;

int main(void) {
  console_init();
  print("spin: no exits from here on\n");
  __asm__ volatile(
      "spin_loop:\n"
      "  incq %0\n"
      "  jmp spin_loop\n"
      : "+m"(spin_counter));
  return kExitFailed;
}
