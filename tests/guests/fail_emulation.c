// Executes an SSE addition at privilege level 0. KVMs that interpret such code have no such instruction and give up at
// fail_instruction; a real CPU adds 1.5 and 2.25 and goes on.
#include "lib/lib.h"

static const float augend[4] __attribute__((aligned(16))) = {1.5f, 1.5f, 1.5f, 1.5f};
static const float addend[4] __attribute__((aligned(16))) = {2.25f, 2.25f, 2.25f, 2.25f};
static uint32_t sum[4] __attribute__((aligned(16)));

int main(void) {
  console_init();
  print("fail_emulation: about to execute addps\n");
  __asm__ volatile(
      "  movaps %1, %%xmm0\n"
      "  movaps %2, %%xmm1\n"
      "fail_instruction:\n"
      "  addps %%xmm1, %%xmm0\n"
      "  movaps %%xmm0, %0\n"
      : "=m"(sum)
      : "m"(augend), "m"(addend)
      : "memory");
  print("fail_emulation: addps worked, sum %x\n", sum[0]);
  return sum[0] == 0x40700000 ? kExitOk : kExitFailed;
}
