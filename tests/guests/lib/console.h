// Text on the first serial port (16550 at 0x3f8), by polling. uart_echo drives the port by interrupts itself.
#pragma once

#include <stdint.h>

enum {
  UART_BASE = 0x3f8,
  UART_DATA = UART_BASE + 0,  // receive buffer, transmit holding register
  UART_INTERRUPT_ENABLE = UART_BASE + 1,
  UART_INTERRUPT_ID = UART_BASE + 2,
  UART_LINE_CONTROL = UART_BASE + 3,
  UART_MODEM_CONTROL = UART_BASE + 4,
  UART_LINE_STATUS = UART_BASE + 5,
  UART_MODEM_STATUS = UART_BASE + 6,
  UART_SCRATCH = UART_BASE + 7,

  UART_IER_RECEIVED = 0x01,
  UART_IER_TRANSMIT_EMPTY = 0x02,
  UART_LSR_DATA_READY = 0x01,
  UART_LSR_HOLDING_EMPTY = 0x20,
  UART_LSR_ALL_SENT = 0x40,
  UART_MCR_DTR_RTS = 0x03,
  UART_MCR_OUT2 = 0x08,  // connects the interrupt line on a PC
};

// 115200 baud, 8N1, interrupts of the port off. The FIFOs stay off as after reset: turning them on would drop input that is
// already there.
void console_init(void);

void console_put(char c);

// %s, %c, %u (unsigned), %x (unsigned, "0x" and no padding), %X (uint64_t, "0x" and 16 digits), %%.
void print(const char* format, ...);
