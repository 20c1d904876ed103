// Raises an exception with no IDT to deliver it, so that the CPU shuts down.
#include "lib/lib.h"

int main(void) {
  static const struct __attribute__((packed)) {
    uint16_t limit;
    uint64_t base;
  } no_idt = {0, 0};
  console_init();
  print("triple_fault: now\n");
  __asm__ volatile(
      "  lidt %0\n"
      "triple_fault_instruction:\n"
      "  ud2\n"
      :
      : "m"(no_idt));
  return kExitFailed;
}
