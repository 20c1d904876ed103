// Resets the machine once through port 0xcf9, then exits. A boot counter in low RAM, which nothing clears, survives.
#include "lib/lib.h"

enum {
  RESET_CONTROL = 0xcf9,
  RESET_HARD = 0x02,
  RESET_NOW = 0x04,
  LAST_BOOT = 2,
};

struct boot_record {
  uint64_t magic;
  uint64_t boots;
};

static const uint64_t kBootMagic = 0x746f6f6265726a64;
static volatile struct boot_record* const boot_record = (volatile struct boot_record*)0x5000;

int main(void) {
  console_init();
  if (boot_record->magic != kBootMagic) {
    boot_record->magic = kBootMagic;
    boot_record->boots = 0;
  }
  boot_record->boots++;
  print("reboot: boot %u\n", (unsigned)boot_record->boots);
  if (boot_record->boots >= LAST_BOOT) return kExitOk;
  port_write8(RESET_CONTROL, RESET_HARD);
  port_write8(RESET_CONTROL, RESET_HARD | RESET_NOW);
  for (;;) __asm__ volatile("hlt");
}
