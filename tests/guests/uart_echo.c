// Echoes lines from the serial port in upper case, by interrupts in both directions.
// "quit" prints the interrupt counts and exits with 0; "off" does the same and powers off through ACPI.
#include "lib/lib.h"

enum {
  QUEUE_BYTES = 256,  // a power of two
  LINE_BYTES = 80,
  IIR_NONE_PENDING = 0x01,
  IIR_CAUSE = 0x0e,
  IIR_TRANSMIT_EMPTY = 0x02,
};

// One side only moves `head`, the other only `tail`; both count up without end.
struct byte_queue {
  volatile unsigned head, tail;
  char bytes[QUEUE_BYTES];
};

static struct byte_queue receive_queue, transmit_queue;
static volatile unsigned receive_interrupts, transmit_interrupts;

static bool queue_empty(const struct byte_queue* queue) { return queue->head == queue->tail; }
static bool queue_full(const struct byte_queue* queue) { return queue->head - queue->tail == QUEUE_BYTES; }

static void queue_put(struct byte_queue* queue, char c) {
  queue->bytes[queue->head % QUEUE_BYTES] = c;
  queue->head++;
}

static char queue_take(struct byte_queue* queue) {
  char c = queue->bytes[queue->tail % QUEUE_BYTES];
  queue->tail++;
  return c;
}

static void uart_receive(void) {
  receive_interrupts++;
  while ((port_read8(UART_LINE_STATUS) & UART_LSR_DATA_READY) != 0) {
    char c = (char)port_read8(UART_DATA);
    if (!queue_full(&receive_queue)) queue_put(&receive_queue, c);
  }
}

static void uart_transmit(void) {
  transmit_interrupts++;
  if (!queue_empty(&transmit_queue)) port_write8(UART_DATA, (uint8_t)queue_take(&transmit_queue));
  if (queue_empty(&transmit_queue)) port_write8(UART_INTERRUPT_ENABLE, UART_IER_RECEIVED);
}

static void uart_interrupt(void) {
  for (;;) {
    uint8_t cause = port_read8(UART_INTERRUPT_ID);
    if ((cause & IIR_NONE_PENDING) != 0) return;
    if ((cause & IIR_CAUSE) == IIR_TRANSMIT_EMPTY) {
      uart_transmit();
    } else {
      uart_receive();
    }
  }
}

static void uart_start(void) {
  console_init();
  port_write8(UART_MODEM_CONTROL, UART_MCR_DTR_RTS | UART_MCR_OUT2);
  irq_install(IRQ_UART, uart_interrupt);
  port_write8(UART_INTERRUPT_ENABLE, UART_IER_RECEIVED);
}

static void send(const char* text) {
  for (; *text != '\0'; ++text) {
    while (queue_full(&transmit_queue)) wait_for_interrupt();
    queue_put(&transmit_queue, *text);
    port_write8(UART_INTERRUPT_ENABLE, UART_IER_RECEIVED | UART_IER_TRANSMIT_EMPTY);
  }
}

static void wait_until_sent(void) {
  while (!queue_empty(&transmit_queue)) wait_for_interrupt();
  while ((port_read8(UART_LINE_STATUS) & UART_LSR_ALL_SENT) == 0) {
  }
}

// Reads up to the end of a line; what does not fit is dropped.
static void receive_line(char* line) {
  unsigned length = 0;
  for (;;) {
    while (queue_empty(&receive_queue)) wait_for_interrupt();
    char c = queue_take(&receive_queue);
    if (c == '\n' || c == '\r') break;
    if (length + 1 < LINE_BYTES) line[length++] = c;
  }
  line[length] = '\0';
}

static bool equal(const char* a, const char* b) {
  while (*a != '\0' && *a == *b) {
    ++a;
    ++b;
  }
  return *a == *b;
}

static void upper_case(char* line) {
  for (; *line != '\0'; ++line) {
    if (*line >= 'a' && *line <= 'z') *line = (char)(*line - 'a' + 'A');
  }
}

static void finish(void) {
  wait_until_sent();
  print("uart_echo: %u receive interrupts, %u transmit interrupts\n", receive_interrupts, transmit_interrupts);
}

int main(void) {
  static char line[LINE_BYTES];
  uart_start();
  send("uart_echo: ready\n");
  for (;;) {
    send("> ");
    receive_line(line);
    bool quit = equal(line, "quit");
    bool off = equal(line, "off");
    upper_case(line);
    send(line);
    send("\n");
    if (quit || off) finish();
    if (quit) return kExitOk;
    if (off) machine_power_off();
  }
}
