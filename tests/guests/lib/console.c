#include "lib/console.h"

#include <stdarg.h>

#include "lib/io.h"

void console_init(void) {
  port_write8(UART_INTERRUPT_ENABLE, 0);
  port_write8(UART_LINE_CONTROL, 0x80);  // divisor latch
  port_write8(UART_BASE + 0, 1);
  port_write8(UART_BASE + 1, 0);
  port_write8(UART_LINE_CONTROL, 0x03);  // 8N1
  port_write8(UART_MODEM_CONTROL, UART_MCR_DTR_RTS);
}

void console_put(char c) {
  while ((port_read8(UART_LINE_STATUS) & UART_LSR_HOLDING_EMPTY) == 0) {
  }
  port_write8(UART_DATA, (uint8_t)c);
}

static void put_string(const char* text) {
  for (; *text != '\0'; ++text) console_put(*text);
}

static void put_decimal(unsigned value) {
  char digits[10];
  unsigned count = 0;
  do {
    digits[count++] = (char)('0' + value % 10);
    value /= 10;
  } while (value != 0);
  while (count > 0) console_put(digits[--count]);
}

static void put_hex(uint64_t value, int min_digits) {
  put_string("0x");
  int digits = min_digits;
  while (digits < 16 && (value >> (4 * digits)) != 0) ++digits;
  while (digits > 0) console_put("0123456789abcdef"[(value >> (4 * --digits)) & 0xf]);
}

void print(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  for (const char* p = format; *p != '\0'; ++p) {
    if (*p != '%') {
      console_put(*p);
      continue;
    }
    switch (*++p) {
      case 's':
        put_string(va_arg(arguments, const char*));
        break;
      case 'c':
        console_put((char)va_arg(arguments, int));
        break;
      case 'u':
        put_decimal(va_arg(arguments, unsigned));
        break;
      case 'x':
        put_hex(va_arg(arguments, unsigned), 1);
        break;
      case 'X':
        put_hex(va_arg(arguments, uint64_t), 16);
        break;
      default:
        console_put('%');
        break;
    }
  }
  va_end(arguments);
}
