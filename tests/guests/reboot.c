// Resets the machine in every way that software has, each REBOOT_ROUNDS times in turn, then exits. A boot counter in low
// RAM, which nothing clears, survives.
#include "lib/lib.h"

#ifndef REBOOT_ROUNDS
#define REBOOT_ROUNDS 10
#endif

enum {
  RESET_CONTROL = 0xcf9,
  RESET_HARD = 0x02,
  RESET_NOW = 0x04,
  KEYBOARD_COMMAND = 0x64,
  KEYBOARD_PULSE_RESET = 0xfe,
  CONTROL_PORT_A = 0x92,
  FAST_RESET = 0x01,
};

struct boot_record {
  uint64_t magic;
  uint64_t boots;
};

static const uint64_t kBootMagic = 0x746f6f6265726a64;
static volatile struct boot_record* const boot_record = (volatile struct boot_record*)0x5000;

static void by_reset_control(void) {
  port_write8(RESET_CONTROL, RESET_HARD);
  port_write8(RESET_CONTROL, RESET_HARD | RESET_NOW);
}

static void by_keyboard_controller(void) { port_write8(KEYBOARD_COMMAND, KEYBOARD_PULSE_RESET); }

static void by_control_port(void) { port_write8(CONTROL_PORT_A, FAST_RESET); }

static void by_triple_fault(void) {
  static const struct __attribute__((packed)) {
    uint16_t limit;
    uint64_t base;
  } no_idt = {0, 0};
  __asm__ volatile("lidt %0; ud2" : : "m"(no_idt));
}

static const struct {
  const char* name;
  void (*reset)(void);
} kWays[] = {
    {"port 0xcf9", by_reset_control},
    {"the keyboard controller", by_keyboard_controller},
    {"port 0x92", by_control_port},
    {"a triple fault", by_triple_fault},
};
enum { WAYS = sizeof kWays / sizeof kWays[0] };

int main(void) {
  console_init();
  if (boot_record->magic != kBootMagic) {
    boot_record->magic = kBootMagic;
    boot_record->boots = 0;
  }
  uint64_t resets = boot_record->boots++;
  if (resets == WAYS * REBOOT_ROUNDS) {
    print("reboot: boot %u, the last\n", (unsigned)resets + 1);
    return kExitOk;
  }
  print("reboot: boot %u, ends by %s\n", (unsigned)resets + 1, kWays[resets % WAYS].name);
  kWays[resets % WAYS].reset();
  for (;;) __asm__ volatile("hlt");
}
