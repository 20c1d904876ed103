// A driver for the edu device that uses everything it has, in EDU_ROUNDS rounds that depend on each other's results, with
// the timer ticking meanwhile. The "data" hash is the same in every run; the "timing" hash depends on when interrupts came.
#include "lib/lib.h"

#ifndef EDU_ROUNDS
#define EDU_ROUNDS 20
#endif

enum {
  TIMER_HERTZ = 1000,
  BUFFER_WORDS = 64,
  MIN_WORDS = 8,
  MAX_FACTORIAL = 12,
};

enum wait_mode { WAIT_HALT, WAIT_SPIN, WAIT_POLL, WAIT_MODES };

static uint32_t transmit_buffer[BUFFER_WORDS];
static uint32_t receive_buffer[BUFFER_WORDS];
static volatile uint32_t edu_events;  // interrupt status bits that arrived and were not consumed
static volatile unsigned edu_interrupts, timer_ticks;
static volatile uint64_t timing_hash, spin_count;
static uint64_t data_hash = 1;

static void edu_interrupt(void) {
  uint32_t status = edu_read(EDU_INTERRUPT_STATUS);
  edu_write(EDU_INTERRUPT_ACKNOWLEDGE, status);
  edu_events |= status;
  edu_interrupts++;
}

static void timer_interrupt(void) {
  timer_ticks++;
  timing_hash = mix(timing_hash, spin_count + edu_events);
}

__attribute__((noreturn, noinline)) static void fail(const char* what, uint32_t actual, uint32_t expected) {
  print("edu_irq_dma: FAILED: %s is %x, expected %x\n", what, actual, expected);
  machine_exit(kExitFailed);
}

static void expect(const char* what, uint32_t actual, uint32_t expected) {
  if (actual != expected) fail(what, actual, expected);
}

// Consumes the event. Called and left with interrupts off.
static void wait_for_event(uint32_t event, enum wait_mode mode) {
  if (mode == WAIT_SPIN) {
    interrupts_enable();
    while ((edu_events & event) == 0) spin_count++;
    interrupts_disable();
  }
  while ((edu_events & event) == 0) wait_for_interrupt();
  edu_events &= ~event;
}

static void check_identification(void) {
  uint32_t identification = edu_read(EDU_IDENTIFICATION);
  expect("identification", identification & 0xff, 0xed);
  print("edu_irq_dma: edu %u.%u, %u rounds\n", identification >> 24, (identification >> 16) & 0xff, EDU_ROUNDS);
}

static void check_liveness(void) {
  uint32_t value = (uint32_t)data_hash;
  edu_write(EDU_LIVENESS, value);
  expect("liveness", edu_read(EDU_LIVENESS), ~value);
}

static void check_factorial(unsigned round) {
  uint32_t n = 1 + (uint32_t)(data_hash >> 32) % MAX_FACTORIAL;
  uint32_t expected = 1;
  for (uint32_t i = 2; i <= n; ++i) expected *= i;

  bool by_interrupt = round % 2 == 1;
  edu_write(EDU_STATUS, by_interrupt ? EDU_STATUS_INTERRUPT : 0);
  edu_write(EDU_FACTORIAL, n);
  if (by_interrupt) wait_for_event(EDU_IRQ_FACTORIAL, WAIT_HALT);
  while ((edu_read(EDU_STATUS) & EDU_STATUS_COMPUTING) != 0) {
  }
  uint32_t factorial = edu_read(EDU_FACTORIAL);
  expect("factorial", factorial, expected);
  data_hash = mix(data_hash, factorial);
}

static void check_raise(unsigned round) {
  uint32_t event = 0x10000u << (round % 8);
  edu_write(EDU_INTERRUPT_RAISE, event);
  wait_for_event(event, WAIT_HALT);
  expect("interrupt status after acknowledge", edu_read(EDU_INTERRUPT_STATUS), 0);
}

static void transfer(uint64_t source, uint64_t destination, uint32_t bytes, uint32_t direction, enum wait_mode mode) {
  mmio_write64(EDU_VIRTUAL + EDU_DMA_SOURCE, source);
  mmio_write64(EDU_VIRTUAL + EDU_DMA_DESTINATION, destination);
  edu_write(EDU_DMA_COUNT, bytes);
  edu_write(EDU_DMA_COMMAND, EDU_DMA_START | direction | (mode == WAIT_POLL ? 0 : EDU_DMA_INTERRUPT));
  if (mode != WAIT_POLL) {
    wait_for_event(EDU_IRQ_DMA, mode);
  }
  while ((edu_read(EDU_DMA_COMMAND) & EDU_DMA_START) != 0) wait_for_interrupt();
}

// Even rounds send a pattern to the device, the odd rounds after them fetch and verify it.
static void check_dma(unsigned round) {
  static uint32_t words;
  enum wait_mode mode = (enum wait_mode)((round / 2) % WAIT_MODES);
  if (round % 2 == 0) {
    words = MIN_WORDS + (uint32_t)(data_hash % (BUFFER_WORDS - MIN_WORDS + 1));
    uint32_t pattern = (uint32_t)data_hash | 1;
    for (uint32_t i = 0; i < words; ++i) {
      pattern = pattern * 1664525 + 1013904223;
      transmit_buffer[i] = pattern;
      receive_buffer[i] = 0;
    }
    transfer((uintptr_t)transmit_buffer, EDU_BUFFER, words * 4, 0, mode);
  } else {
    transfer(EDU_BUFFER, (uintptr_t)receive_buffer, words * 4, EDU_DMA_FROM_DEVICE, mode);
    for (uint32_t i = 0; i < words; ++i) {
      expect("received word", receive_buffer[i], transmit_buffer[i]);
      data_hash = mix(data_hash, receive_buffer[i]);
    }
  }
}

int main(void) {
  console_init();
  if (!edu_init()) fail("edu device", 0, 1);
  irq_install(IRQ_PCI, edu_interrupt);
  irq_install(IRQ_TIMER, timer_interrupt);
  timer_start(TIMER_HERTZ);
  check_identification();
  for (unsigned round = 0; round < EDU_ROUNDS; ++round) {
    check_liveness();
    check_factorial(round);
    check_raise(round);
    check_dma(round);
  }
  print("edu_irq_dma: %u edu interrupts, %u ticks, timing %X\n", edu_interrupts, timer_ticks, timing_hash);
  print("edu_irq_dma: data %X\n", data_hash);
  return kExitOk;
}
