// The IDT, the 8259 pair and the 8254. One handler a line; handlers run with interrupts off and are acknowledged here.
#pragma once

#include <stdint.h>

#include "lib/io.h"

enum {
  IRQ_TIMER = 0,
  IRQ_UART = 4,
  IRQ_PCI = 11,  // where lib/pci.c routes all four PCI interrupt lines
  IRQ_VECTOR_BASE = 0x20,
  VECTOR_FREE = 0x30,  // from here on no line of the 8259 has them
  VECTORS = 0x60,
};

// What interrupt_stubs.S pushes, lowest address first.
struct interrupt_frame {
  uint64_t r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax;
  uint64_t vector, error_code;
  uint64_t rip, cs, rflags, rsp, ss;
};

typedef void (*irq_handler)(void);

// Loads the IDT and remaps the interrupt controllers, all lines masked. start.S calls it before main().
// An exception prints its vector and address and ends the guest with kExitException.
void interrupts_init(void);

// Sets the handler of a line (0-15) and unmasks it.
void irq_install(unsigned irq, irq_handler handler);

// Sets the handler of a vector from VECTOR_FREE on. It ends the interrupt itself.
void vector_install(unsigned vector, irq_handler handler);

// Makes a line level-triggered (ELCR), as PCI lines must be.
void irq_set_level_triggered(unsigned irq);

// Starts timer 0 (IRQ 0) at about `hertz` interrupts a second; 19 to 1193182.
void timer_start(unsigned hertz);

GUEST_INLINE void interrupts_enable(void) { __asm__ volatile("sti" : : : "memory"); }
GUEST_INLINE void interrupts_disable(void) { __asm__ volatile("cli" : : : "memory"); }

// Waits for one interrupt, called and left with interrupts off: nothing can slip in between a check and the wait.
GUEST_INLINE void wait_for_interrupt(void) { __asm__ volatile("sti; hlt; cli" : : : "memory"); }
