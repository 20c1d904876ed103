// For maintainers: the guest of `./dev demo`. mailbox_receive() compares the payload with the size of rx_buffer, but
// transfers header and payload. The message with a payload of 64 bytes therefore makes edu write 80 bytes into 64 and
// overwrite the first 16 bytes of completion_queue, whose magic is looked at only much later. The guilty device write is
// the DMA count, edu+0x90 <- 0x50, the only one with that value; the write of edu+0x98 after it starts the transfer.
// The rest of this file is written as its author saw it.

// A mailbox driver. The device holds a row of messages in its buffer; the driver fetches them one by one into rx_buffer
// and notes each in completion_queue, which the "application" reaps when all are there.
#include "lib/lib.h"

enum {
  TIMER_HERTZ = 250,
  MESSAGES = 6,
  MAX_PAYLOAD = 64,
  SLOT_BYTES = 128,  // one message in the device's buffer
  QUEUE_ENTRIES = 16,
};

struct message_header {
  uint32_t id;
  uint32_t payload_length;
  uint64_t sequence;
};

struct message {
  struct message_header header;
  char payload[MAX_PAYLOAD];
};

struct completion {
  uint32_t id;
  uint32_t checksum;
};

struct completion_queue {
  uint64_t magic;
  uint64_t generation;
  uint32_t head, tail;
  struct completion entries[QUEUE_ENTRIES];
};

static const uint64_t kQueueMagic = 0x554555514c504d43;  // "CMPLQUEU"

// Memory that the device works on is kept together.
#define DMA_MEMORY(order) __attribute__((section(".dma." #order), aligned(64)))

DMA_MEMORY(0) char mailbox_image[MESSAGES][SLOT_BYTES];
DMA_MEMORY(1) char rx_buffer[64];
DMA_MEMORY(2) struct completion_queue completion_queue;

volatile unsigned timer_ticks, dma_completions;

static const char* const kTexts[MESSAGES] = {
    "link up",          "temperature 41 C, fan at 20 %",
    "queue depth 3",    "firmware 2.7.1 of 2024-03-18 loaded from slot B, checksum is ok.",
    "temperature 42 C", "link speed 100 Mbit/s, full duplex",
};

static void timer_interrupt(void) { timer_ticks++; }

static void edu_interrupt(void) {
  uint32_t status = edu_read(EDU_INTERRUPT_STATUS);
  edu_write(EDU_INTERRUPT_ACKNOWLEDGE, status);
  if ((status & EDU_IRQ_DMA) != 0) dma_completions++;
}

__attribute__((noreturn, noinline)) void panic(const char* what, uint64_t actual, uint64_t expected) {
  print("PANIC: %s (magic %X expected %X)\n", what, actual, expected);
  machine_exit(kExitFailed);
}

__attribute__((noinline)) void edu_dma(uint64_t source, uint64_t destination, uint32_t bytes, uint32_t direction) {
  unsigned completions_before = dma_completions;
  edu_write(EDU_DMA_SOURCE, (uint32_t)source);
  edu_write(EDU_DMA_DESTINATION, (uint32_t)destination);
  edu_write(EDU_DMA_COUNT, bytes);
  edu_write(EDU_DMA_COMMAND, EDU_DMA_START | EDU_DMA_INTERRUPT | direction);
  while (dma_completions == completions_before) wait_for_interrupt();
}

static uint32_t text_length(const char* text) {
  uint32_t length = 0;
  while (text[length] != '\0') ++length;
  return length;
}

// Stands for the remote side: fills the device's buffer with messages.
__attribute__((noinline)) void mailbox_fill(void) {
  for (uint32_t i = 0; i < MESSAGES; ++i) {
    struct message* message = (struct message*)mailbox_image[i];
    message->header.id = 100 + i;
    message->header.payload_length = text_length(kTexts[i]);
    message->header.sequence = i;
    memcpy(message->payload, kTexts[i], message->header.payload_length);
  }
  edu_dma((uintptr_t)mailbox_image, EDU_BUFFER, sizeof mailbox_image, 0);
}

static uint32_t checksum(const char* bytes, uint32_t length) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < length; ++i) sum = sum * 31 + (uint8_t)bytes[i];
  return sum;
}

__attribute__((noinline)) void completion_post(uint32_t id, uint32_t sum) {
  struct completion* entry = &completion_queue.entries[completion_queue.tail % QUEUE_ENTRIES];
  entry->id = id;
  entry->checksum = sum;
  completion_queue.tail++;
}

__attribute__((noinline)) void mailbox_receive(uint32_t slot, uint32_t payload_length) {
  if (payload_length > sizeof rx_buffer) {
    print("mailbox: message %u is too long\n", slot);
    return;
  }
  uint32_t bytes = (uint32_t)sizeof(struct message_header) + payload_length;
  edu_dma(EDU_BUFFER + slot * SLOT_BYTES, (uintptr_t)rx_buffer, bytes, EDU_DMA_FROM_DEVICE);

  const struct message* message = (const struct message*)rx_buffer;
  print("mailbox: message %u, %u bytes\n", message->header.id, message->header.payload_length);
  completion_post(message->header.id, checksum(message->payload, message->header.payload_length));
}

// The device's other unit; it shares nothing with the mailbox.
__attribute__((noinline)) void self_test(uint32_t n) {
  edu_write(EDU_LIVENESS, n);
  bool alive = edu_read(EDU_LIVENESS) == ~n;
  edu_write(EDU_FACTORIAL, n);
  while ((edu_read(EDU_STATUS) & EDU_STATUS_COMPUTING) != 0) {
  }
  print("self test: %s, %u! = %u\n", alive ? "alive" : "dead", n, edu_read(EDU_FACTORIAL));
}

static void sleep_ticks(unsigned ticks) {
  unsigned start = timer_ticks;
  while (timer_ticks - start < ticks) wait_for_interrupt();
}

__attribute__((noinline)) void completion_reap(void) {
  if (completion_queue.magic != kQueueMagic) {
    panic("completion queue corrupted", completion_queue.magic, kQueueMagic);
  }
  while (completion_queue.head != completion_queue.tail) {
    const struct completion* entry = &completion_queue.entries[completion_queue.head % QUEUE_ENTRIES];
    print("application: message %u done, checksum %x\n", entry->id, entry->checksum);
    completion_queue.head++;
  }
}

int main(void) {
  console_init();
  if (!edu_init()) {
    print("mailbox: no edu device\n");
    return kExitFailed;
  }
  irq_install(IRQ_PCI, edu_interrupt);
  irq_install(IRQ_TIMER, timer_interrupt);
  timer_start(TIMER_HERTZ);

  completion_queue.magic = kQueueMagic;
  mailbox_fill();
  for (uint32_t slot = 0; slot < MESSAGES; ++slot) mailbox_receive(slot, text_length(kTexts[slot]));
  for (uint32_t n = 5; n <= 8; ++n) {
    self_test(n);
    sleep_ticks(10);
  }
  completion_reap();
  print("application: all done\n");
  return kExitOk;
}
