#include "exercise.h"
#include "lib/lib.h"

enum {
  DEVICE_END_OFFSET = 0x1000,  // edu's first page ends here; nothing is at 0xff0-0x100f
  STRADDLE_PAGE = EDU_PAGES + 8,
  UNCLAIMED_PAGE = EDU_PAGES + 16,
  LOOP_PORT = UART_SCRATCH,
};
#define UNCLAIMED_PHYSICAL 0xf8000000u

static uint8_t ram_buffer[2 * PAGE_BYTES] __attribute__((aligned(4096)));

#define READ(hash, instruction, address)                                    \
  do {                                                                      \
    uint64_t value_ = 0xa5a5a5a5a5a5a5a5;                                   \
    __asm__ volatile(instruction : "+a"(value_) : "r"(address) : "memory"); \
    (hash) = mix((hash), value_);                                           \
  } while (0)

// Reads of every size that x86 has, with sign and zero extension, into all parts of a register.
static uint64_t ex_read_sizes(uintptr_t base) {
  uint64_t hash = 1;
  static const uint16_t offsets[] = {EDU_IDENTIFICATION, EDU_LIVENESS, EDU_INTERRUPT_STATUS, EDU_DMA_SOURCE, 0x40, 0xff8};
  for (unsigned i = 0; i < sizeof offsets / sizeof offsets[0]; ++i) {
    uintptr_t address = base + offsets[i];
    READ(hash, "movb (%1), %b0", address);
    READ(hash, "movb (%1), %h0", address);
    READ(hash, "movw (%1), %w0", address);
    READ(hash, "movl (%1), %k0", address);
    READ(hash, "movq (%1), %q0", address);
    READ(hash, "movzbl (%1), %k0", address);
    READ(hash, "movzwl (%1), %k0", address);
    READ(hash, "movsbq (%1), %q0", address);
    READ(hash, "movswl (%1), %k0", address);
    READ(hash, "movslq (%1), %q0", address);
  }
  return hash;
}

// Writes of every size, from registers and immediates, each read back. 0x04 and 0x80 keep values on edu, 0x40 does not.
static uint64_t ex_write_sizes(uintptr_t base) {
  uint64_t hash = 2;
  static const uint16_t offsets[] = {EDU_LIVENESS, EDU_DMA_SOURCE, 0x40};
  for (unsigned i = 0; i < sizeof offsets / sizeof offsets[0]; ++i) {
    uintptr_t address = base + offsets[i];
    mmio_write8(address, 0x11);
    hash = mix(hash, mmio_read32(address));
    mmio_write16(address, 0x2222);
    hash = mix(hash, mmio_read32(address));
    mmio_write32(address, 0x33333333);
    hash = mix(hash, mmio_read32(address));
    mmio_write64(address, 0x4444444455555555);
    hash = mix(hash, mmio_read32(address));
    __asm__ volatile("movb $0x66, (%0)\n  movw $0x7777, (%0)\n  movb %%ah, (%0)" : : "r"(address), "a"(0x8899) : "memory");
    hash = mix(hash, mmio_read32(address));
    __asm__ volatile("orb $1, (%0)\n  addw $0x101, (%0)\n  incb (%0)\n  xchgb %%al, (%0)"
                     :
                     : "r"(address), "a"(1)
                     : "memory", "cc");
    hash = mix(hash, mmio_read32(address));
  }
  return hash;
}

// The forms of MOV that carry a whole address: edu at its physical one, then at its virtual one.
static uint64_t ex_absolute_addresses(uintptr_t base) {
  (void)base;
  uint64_t hash = 3;
  uint64_t value = 0;
  _Static_assert(EDU_PHYSICAL == 0xfeb00000 && EDU_VIRTUAL == 0xffffc90000000000, "the addresses in these instructions");
  __asm__ volatile("movabsl 0xfeb00000, %%eax" : "+a"(value) : : "memory");
  hash = mix(hash, value);
  __asm__ volatile("movabsl %%eax, 0xfeb00004" : "+a"(value) : : "memory");
  __asm__ volatile("movabsl 0xfeb00004, %%eax" : "+a"(value) : : "memory");
  hash = mix(hash, value);
  __asm__ volatile("movabsq %%rax, 0xfeb00080" : "+a"(value) : : "memory");
  __asm__ volatile("movabsq 0xffffc90000000080, %%rax" : "+a"(value) : : "memory");
  return mix(hash, value);
}

static uint64_t touch_at(uint64_t hash, uintptr_t address) {
  hash = mix(hash, mmio_read16(address));
  hash = mix(hash, mmio_read32(address));
  hash = mix(hash, mmio_read64(address));
  mmio_write16(address, 0x1234);
  mmio_write32(address, 0x56789abc);
  mmio_write64(address, 0x0f1e2d3c4b5a6978);
  __asm__ volatile("addl $1, (%0)\n  xchgq %%rax, (%0)" : : "r"(address), "a"(3) : "memory", "cc");
  return mix(hash, mmio_read64(address));
}

// Addresses that are no multiple of the size.
static uint64_t ex_unaligned(uintptr_t base) {
  uint64_t hash = 4;
  for (unsigned offset = 1; offset < 8; ++offset) hash = touch_at(hash, base + 0x40 + offset);
  return hash;
}

// Accesses whose first bytes are in one page of the device and the last in the next.
static uint64_t ex_page_crossing(uintptr_t base) {
  uint64_t hash = 5;
  for (unsigned before = 1; before < 8; ++before) hash = touch_at(hash, base + DEVICE_END_OFFSET - before);
  __asm__ volatile("movups (%0), %%xmm2\n  movups %%xmm2, (%0)" : : "r"(base + DEVICE_END_OFFSET - 5) : "memory");
  return hash;
}

// Accesses with one end in RAM and the other in a device, in both orders. The RAM is hashed as well.
static uint64_t ex_ram_straddling(uintptr_t base) {
  (void)base;
  uint64_t hash = 6;
  uint64_t ram = (uintptr_t)ram_buffer;
  for (unsigned i = 0; i < PAGE_BYTES; ++i) ram_buffer[i] = (uint8_t)(i * 7);
  uintptr_t pages = window_map(STRADDLE_PAGE, ram, 1, PAGE_RAM);
  window_map(STRADDLE_PAGE + 1, EDU_PHYSICAL + DEVICE_END_OFFSET, 1, PAGE_DEVICE);
  window_map(STRADDLE_PAGE + 2, ram, 1, PAGE_RAM);
  for (unsigned before = 1; before < 8; ++before) {
    hash = touch_at(hash, pages + PAGE_BYTES - before);
    hash = touch_at(hash, pages + 2 * PAGE_BYTES - before);
  }
  for (unsigned i = 0; i < 8; ++i) {
    hash = mix(hash, ram_buffer[i]);
    hash = mix(hash, ram_buffer[PAGE_BYTES - 8 + i]);
  }
  return hash;
}

// String instructions on elements that edu does not decode alike: 1, 2 and 4 bytes, over registers and over a page end.
static uint64_t ex_small_strings(uintptr_t base) {
  uint64_t hash = 7;
  uint8_t* target = ram_buffer + PAGE_BYTES;
  uint64_t count = 24, from = base, to = (uintptr_t)target;
  __asm__ volatile("rep movsb" : "+c"(count), "+S"(from), "+D"(to) : : "memory");
  count = 12, from = base + DEVICE_END_OFFSET - 12;
  __asm__ volatile("rep movsw" : "+c"(count), "+S"(from), "+D"(to) : : "memory");
  count = 8, from = base;
  __asm__ volatile("rep movsl" : "+c"(count), "+S"(from), "+D"(to) : : "memory");
  for (uint8_t* byte = target; byte < (uint8_t*)to; ++byte) hash = mix(hash, *byte);
  count = 5, to = base + 0x40;
  __asm__ volatile("rep stosb" : "+c"(count), "+D"(to) : "a"(0x5a) : "memory");
  count = 5, to = base + 0x41;
  __asm__ volatile("rep stosw" : "+c"(count), "+D"(to) : "a"(0x5aa5) : "memory");
  count = 3, to = base + DEVICE_END_OFFSET - 6;
  __asm__ volatile("rep stosl" : "+c"(count), "+D"(to) : "a"(0x5aa5c33c) : "memory");
  count = 16, to = base;
  __asm__ volatile("repne scasb" : "+c"(count), "+D"(to) : "a"(0x01) : "memory", "cc");
  return mix(hash, count);
}

// An address that nobody claims, every size.
static uint64_t ex_unclaimed(uintptr_t base) {
  (void)base;
  uint64_t hash = 8;
  uintptr_t page = window_map(UNCLAIMED_PAGE, UNCLAIMED_PHYSICAL, 1, PAGE_DEVICE);
  mmio_write8(page + 1, 1);
  hash = mix(hash, mmio_read8(page + 1));
  for (unsigned offset = 0; offset < 4; ++offset) hash = touch_at(hash, page + offset);
  return hash;
}

// Ports: every size, by immediate and by DX, and string instructions. PCI's data port shows the host bridge's ids.
static uint64_t ex_ports(uintptr_t base) {
  (void)base;
  uint64_t hash = 9;
  port_write32(PCI_CONFIG_ADDRESS, 0x80000000);
  hash = mix(hash, port_read32(PCI_CONFIG_DATA));
  hash = mix(hash, port_read16(PCI_CONFIG_DATA + 2));
  hash = mix(hash, port_read8(PCI_CONFIG_DATA + 1));
  port_write8(LOOP_PORT, 0x5a);
  hash = mix(hash, port_read8(LOOP_PORT));
  port_write8(0x80, 0x77);
  port_write16(0xed, 0x7788);

  static const char kLine[] = "mmio_exerciser: rep outsb\n";
  uint64_t count = sizeof kLine - 1, from = (uintptr_t)kLine;
  __asm__ volatile("rep outsb" : "+c"(count), "+S"(from) : "d"(UART_DATA) : "memory");
  static const uint32_t kAddresses[] = {0x80000008, 0x80000004, 0x80000000};
  count = 3, from = (uintptr_t)kAddresses;
  __asm__ volatile("rep outsl" : "+c"(count), "+S"(from) : "d"(PCI_CONFIG_ADDRESS) : "memory");
  from = (uintptr_t)kAddresses;
  __asm__ volatile("outsw" : "+S"(from) : "d"(0xed) : "memory");

  uint64_t to = (uintptr_t)ram_buffer;
  count = 600;  // more than a KVM fetches at once
  __asm__ volatile("rep insl" : "+c"(count), "+D"(to) : "d"(PCI_CONFIG_DATA) : "memory");
  count = 5;
  __asm__ volatile("rep insw" : "+c"(count), "+D"(to) : "d"(PCI_CONFIG_DATA) : "memory");
  count = 3;
  __asm__ volatile("rep insb" : "+c"(count), "+D"(to) : "d"(LOOP_PORT) : "memory");
  to--;
  __asm__ volatile("std\n  insb\n  cld" : "+D"(to) : "d"(LOOP_PORT) : "memory");
  for (uint64_t address = (uintptr_t)ram_buffer + 2380; address < to; ++address) hash = mix(hash, *(uint8_t*)address);
  return mix(hash, to - (uintptr_t)ram_buffer);
}

const struct exercise_class kDeviceClasses[] = {
    {"ex_read_sizes", ex_read_sizes},
    {"ex_write_sizes", ex_write_sizes},
    {"ex_absolute_addresses", ex_absolute_addresses},
    {"ex_unaligned", ex_unaligned},
    {"ex_page_crossing", ex_page_crossing},
    {"ex_ram_straddling", ex_ram_straddling},
    {"ex_small_strings", ex_small_strings},
    {"ex_unclaimed", ex_unclaimed},
    {"ex_ports", ex_ports},
};
const unsigned kDeviceClassCount = sizeof kDeviceClasses / sizeof kDeviceClasses[0];
