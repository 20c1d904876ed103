#include "lib/interrupts.h"

#include <stddef.h>

#include "lib/console.h"
#include "lib/machine.h"

enum {
  PIC_MASTER_COMMAND = 0x20,
  PIC_MASTER_DATA = 0x21,
  PIC_SLAVE_COMMAND = 0xa0,
  PIC_SLAVE_DATA = 0xa1,
  PIC_END_OF_INTERRUPT = 0x20,
  PIC_READ_IN_SERVICE = 0x0b,
  PIC_CASCADE_IRQ = 2,
  ELCR_MASTER = 0x4d0,
  PIT_CHANNEL0 = 0x40,
  PIT_COMMAND = 0x43,
  PIT_INPUT_HERTZ = 1193182,
  CPUID_FEATURES = 1,
  CPUID_EDX_APIC = 1 << 9,
  APIC_ENABLED = 0x1ff,
  APIC_DELIVER_EXTINT = 0x700,
  SELECTOR_CODE64 = 0x18,
  GATE_INTERRUPT = 0x8e,
  STUB_BYTES = 16,
};

#define APIC_SPURIOUS 0xfee000f0u
#define APIC_LINT0 0xfee00350u

struct idt_gate {
  uint16_t offset_low, selector;
  uint8_t ist, type;
  uint16_t offset_middle;
  uint32_t offset_high, reserved;
};

struct __attribute__((packed)) idt_pointer {
  uint16_t limit;
  uint64_t base;
};

extern char interrupt_stub_first[];

static struct idt_gate idt[VECTORS];
static irq_handler irq_handlers[16];
static irq_handler vector_handlers[VECTORS - VECTOR_FREE];

static void load_idt(void) {
  for (unsigned vector = 0; vector < VECTORS; ++vector) {
    uintptr_t stub = (uintptr_t)interrupt_stub_first + vector * STUB_BYTES;
    idt[vector] = (struct idt_gate){
        .offset_low = (uint16_t)stub,
        .selector = SELECTOR_CODE64,
        .type = GATE_INTERRUPT,
        .offset_middle = (uint16_t)(stub >> 16),
        .offset_high = (uint32_t)(stub >> 32),
    };
  }
  struct idt_pointer pointer = {sizeof idt - 1, (uintptr_t)idt};
  __asm__ volatile("lidt %0" : : "m"(pointer));
}

static void remap_interrupt_controllers(void) {
  port_write8(PIC_MASTER_COMMAND, 0x11);  // ICW1: edge, cascade, ICW4 follows
  port_write8(PIC_SLAVE_COMMAND, 0x11);
  port_write8(PIC_MASTER_DATA, IRQ_VECTOR_BASE);
  port_write8(PIC_SLAVE_DATA, IRQ_VECTOR_BASE + 8);
  port_write8(PIC_MASTER_DATA, 1 << PIC_CASCADE_IRQ);
  port_write8(PIC_SLAVE_DATA, PIC_CASCADE_IRQ);
  port_write8(PIC_MASTER_DATA, 0x01);  // ICW4: 8086 mode
  port_write8(PIC_SLAVE_DATA, 0x01);
  port_write8(PIC_MASTER_DATA, 0xff & ~(1 << PIC_CASCADE_IRQ));
  port_write8(PIC_SLAVE_DATA, 0xff);
}

// A CPU with a local APIC keeps the 8259's requests away until its LINT0 is set to pass them on; firmware does that on a PC.
static void pass_through_local_apic(void) {
  uint32_t eax = CPUID_FEATURES, ebx, ecx, edx;
  __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
  if ((edx & CPUID_EDX_APIC) == 0) return;
  mmio_write32(APIC_SPURIOUS, APIC_ENABLED);
  mmio_write32(APIC_LINT0, APIC_DELIVER_EXTINT);
}

void interrupts_init(void) {
  load_idt();
  remap_interrupt_controllers();
  pass_through_local_apic();
}

void irq_install(unsigned irq, irq_handler handler) {
  irq_handlers[irq] = handler;
  uint16_t mask_port = irq < 8 ? PIC_MASTER_DATA : PIC_SLAVE_DATA;
  uint8_t mask = port_read8(mask_port);
  port_write8(mask_port, mask & (uint8_t) ~(1u << (irq & 7)));
}

void vector_install(unsigned vector, irq_handler handler) { vector_handlers[vector - VECTOR_FREE] = handler; }

void irq_set_level_triggered(unsigned irq) {
  uint16_t port = (uint16_t)(ELCR_MASTER + irq / 8);
  uint8_t levels = port_read8(port);
  port_write8(port, levels | (uint8_t)(1u << (irq & 7)));
}

void timer_start(unsigned hertz) {
  unsigned divisor = PIT_INPUT_HERTZ / hertz;
  port_write8(PIT_COMMAND, 0x34);  // channel 0, low then high byte, mode 2
  port_write8(PIT_CHANNEL0, (uint8_t)divisor);
  port_write8(PIT_CHANNEL0, (uint8_t)(divisor >> 8));
}

// A controller that lost the request before it was acknowledged answers with its line 7, and serves nothing.
static int is_spurious(unsigned irq) {
  if ((irq & 7) != 7) return 0;
  uint16_t port = irq < 8 ? PIC_MASTER_COMMAND : PIC_SLAVE_COMMAND;
  port_write8(port, PIC_READ_IN_SERVICE);
  return (port_read8(port) & 0x80) == 0;
}

static void exception(const struct interrupt_frame* frame) {
  uint64_t cr2;
  __asm__ volatile("movq %%cr2, %0" : "=r"(cr2));
  print("EXCEPTION %u at %X, error code %X, cr2 %X\n", (unsigned)frame->vector, frame->rip, frame->error_code, cr2);
  machine_exit(kExitException);
}

// Called by interrupt_stubs.S.
void interrupt_dispatch(const struct interrupt_frame* frame);
void interrupt_dispatch(const struct interrupt_frame* frame) {
  if (frame->vector < IRQ_VECTOR_BASE) exception(frame);
  if (frame->vector >= VECTOR_FREE) {
    irq_handler handler = vector_handlers[frame->vector - VECTOR_FREE];
    if (handler == NULL) exception(frame);
    handler();
    return;
  }
  unsigned irq = (unsigned)frame->vector - IRQ_VECTOR_BASE;
  if (is_spurious(irq)) {
    if (irq >= 8) port_write8(PIC_MASTER_COMMAND, PIC_END_OF_INTERRUPT);
    return;
  }
  if (irq_handlers[irq] != NULL) irq_handlers[irq]();
  if (irq >= 8) port_write8(PIC_SLAVE_COMMAND, PIC_END_OF_INTERRUPT);
  port_write8(PIC_MASTER_COMMAND, PIC_END_OF_INTERRUPT);
}
