// The local APIC and the IOAPIC instead of the 8259: IPIs to oneself and their priorities, the APIC's timer, the PIT's edges
// and edu's level through the IOAPIC, edu's messages. Prints the same whatever the speed of the machine.
#include "lib/lib.h"
#include "lib/pci.h"

#define APIC 0xfee00000u
#define IOAPIC 0xfec00000u

enum {
  APIC_VERSION = 0x30,
  APIC_TASK_PRIORITY = 0x80,
  APIC_END_OF_INTERRUPT = 0xb0,
  APIC_SPURIOUS = 0xf0,
  APIC_COMMAND = 0x300,
  APIC_TIMER = 0x320,
  APIC_INITIAL_COUNT = 0x380,
  APIC_CURRENT_COUNT = 0x390,
  APIC_DIVIDE = 0x3e0,
  APIC_SELF = 1 << 18,
  APIC_PERIODIC = 1 << 17,
  APIC_MASKED = 1 << 16,
  APIC_DIVIDE_BY_1 = 0xb,
  MILLISECOND = 1000000,  // ticks: the bus runs at 1 GHz

  IOAPIC_SELECT = 0x00,
  IOAPIC_WINDOW = 0x10,
  IOAPIC_VERSION = 1,
  IOAPIC_ENTRIES = 0x10,
  IOAPIC_LEVEL = 1 << 15,
  IOAPIC_MASKED = 1 << 16,
  IOAPIC_PIN_TIMER = 2,

  PIC_MASTER_DATA = 0x21,
  PIC_SLAVE_DATA = 0xa1,

  EDU_MSI = 0x40,
  MSI_ENABLE = 1 << 16,

  VECTOR_IPI = 0x35,
  VECTOR_IPI_HIGH = 0x45,
  VECTOR_IPI_HIGHER = 0x55,
  VECTOR_TIMER = 0x46,
  VECTOR_PIT = 0x50,
  VECTOR_EDU_PIN = 0x51,
  VECTOR_EDU_MESSAGE = 0x52,
};

static volatile unsigned order[8], entered;
static volatile unsigned ticks, pit_ticks, edu_pins, edu_messages;
static bool edu_is_left_alone;  // once: its level stays, and interrupts again

static uint32_t apic_read(unsigned offset) { return mmio_read32(APIC + offset); }
static void apic_write(unsigned offset, uint32_t value) { mmio_write32(APIC + offset, value); }

static void ioapic_write(unsigned number, uint32_t value) {
  mmio_write32(IOAPIC + IOAPIC_SELECT, number);
  mmio_write32(IOAPIC + IOAPIC_WINDOW, value);
}

static void ioapic_route(unsigned pin, uint32_t entry) {
  ioapic_write(IOAPIC_ENTRIES + 2 * pin + 1, 0);
  ioapic_write(IOAPIC_ENTRIES + 2 * pin, entry);
}

static void note(unsigned vector) {
  order[entered++ % 8] = vector;
  apic_write(APIC_END_OF_INTERRUPT, 0);
}
static void ipi(void) { note(VECTOR_IPI); }
static void ipi_high(void) { note(VECTOR_IPI_HIGH); }
static void ipi_higher(void) { note(VECTOR_IPI_HIGHER); }

static void timer(void) {
  ticks++;
  apic_write(APIC_END_OF_INTERRUPT, 0);
}
static void pit(void) {
  pit_ticks++;
  apic_write(APIC_END_OF_INTERRUPT, 0);
}
static void edu_pin(void) {
  edu_pins++;
  if (edu_is_left_alone) {
    edu_is_left_alone = false;
  } else {
    edu_write(EDU_INTERRUPT_ACKNOWLEDGE, edu_read(EDU_INTERRUPT_STATUS));
  }
  apic_write(APIC_END_OF_INTERRUPT, 0);
}
static void edu_message(void) {
  edu_messages++;
  edu_write(EDU_INTERRUPT_ACKNOWLEDGE, edu_read(EDU_INTERRUPT_STATUS));
  apic_write(APIC_END_OF_INTERRUPT, 0);
}

__attribute__((noreturn)) static void fail(const char* what, uint32_t value) {
  print("apic: FAILED: %s %x\n", what, value);
  machine_exit(kExitFailed);
}

static void wait_until(volatile unsigned* counter, unsigned value) {
  while (*counter < value) wait_for_interrupt();
}

// What is sent while interrupts are off enters by priority, and not above the task priority.
static void check_priorities(void) {
  apic_write(APIC_TASK_PRIORITY, 0x40);
  apic_write(APIC_COMMAND, APIC_SELF | VECTOR_IPI);
  apic_write(APIC_COMMAND, APIC_SELF | VECTOR_IPI_HIGH);
  apic_write(APIC_COMMAND, APIC_SELF | VECTOR_IPI_HIGHER);
  wait_until(&entered, 1);
  interrupts_enable();
  __asm__ volatile("nop; nop");
  interrupts_disable();
  if (entered != 1) fail("interrupts above the task priority:", entered);
  apic_write(APIC_TASK_PRIORITY, 0);
  wait_until(&entered, 3);
  print("apic: priorities %x %x %x\n", order[0], order[1], order[2]);
}

static void check_timer(void) {
  apic_write(APIC_DIVIDE, APIC_DIVIDE_BY_1);
  apic_write(APIC_TIMER, VECTOR_TIMER);
  apic_write(APIC_INITIAL_COUNT, MILLISECOND);
  wait_until(&ticks, 1);
  if (apic_read(APIC_CURRENT_COUNT) != 0) fail("the count behind its end is", apic_read(APIC_CURRENT_COUNT));
  unsigned once = ticks;
  apic_write(APIC_TIMER, APIC_PERIODIC | VECTOR_TIMER);
  apic_write(APIC_INITIAL_COUNT, MILLISECOND);
  wait_until(&ticks, once + 5);
  apic_write(APIC_INITIAL_COUNT, 0);
  print("apic: timer %u once, %u again and again\n", once, 5u);
  apic_write(APIC_TIMER, APIC_MASKED);
}

static void check_pit(void) {
  ioapic_route(IOAPIC_PIN_TIMER, VECTOR_PIT);
  timer_start(1000);
  wait_until(&pit_ticks, 10);
  ioapic_route(IOAPIC_PIN_TIMER, IOAPIC_MASKED);
  print("apic: PIT %u by the IOAPIC\n", 10u);
}

static void check_edu(void) {
  struct pci_device device;
  if (!edu_init() || !pci_find(0x1234, 0x11e8, &device)) fail("edu is not there", 0);
  ioapic_route(IRQ_PCI, IOAPIC_LEVEL | VECTOR_EDU_PIN);
  edu_is_left_alone = true;
  edu_write(EDU_INTERRUPT_RAISE, 1);
  wait_until(&edu_pins, 2);
  for (unsigned i = 3; i <= 4; ++i) {
    edu_write(EDU_INTERRUPT_RAISE, 1);
    wait_until(&edu_pins, i);
  }
  pci_write32(device, EDU_MSI + 4, APIC);
  pci_write32(device, EDU_MSI + 8, 0);
  pci_write32(device, EDU_MSI + 12, VECTOR_EDU_MESSAGE);
  pci_write32(device, EDU_MSI, pci_read32(device, EDU_MSI) | MSI_ENABLE);
  for (unsigned i = 1; i <= 3; ++i) {
    edu_write(EDU_INTERRUPT_RAISE, 2);
    wait_until(&edu_messages, i);
  }
  print("apic: edu %u by its pin, %u by message\n", edu_pins, edu_messages);
}

int main(void) {
  port_write8(PIC_MASTER_DATA, 0xff);
  port_write8(PIC_SLAVE_DATA, 0xff);
  vector_install(VECTOR_IPI, ipi);
  vector_install(VECTOR_IPI_HIGH, ipi_high);
  vector_install(VECTOR_IPI_HIGHER, ipi_higher);
  vector_install(VECTOR_TIMER, timer);
  vector_install(VECTOR_PIT, pit);
  vector_install(VECTOR_EDU_PIN, edu_pin);
  vector_install(VECTOR_EDU_MESSAGE, edu_message);
  apic_write(APIC_SPURIOUS, 0x1ff);

  mmio_write32(IOAPIC + IOAPIC_SELECT, IOAPIC_VERSION);
  print("apic: local APIC %x, IOAPIC %x\n", apic_read(APIC_VERSION), mmio_read32(IOAPIC + IOAPIC_WINDOW));
  check_priorities();
  check_timer();
  check_pit();
  check_edu();
  print("apic: done\n");
  return kExitOk;
}
