// Prints what a boot loader said, without addresses of its choice, so that two loaders can be compared; then exits by
// isa-debug-exit.
#include <stdint.h>

#include "protocol.h"

#define SERIAL 0x3f8
#define DEBUG_EXIT 0x501

static uint32_t zeroed[1024];  // nobody writes it: memory behind the file's part must be zero

static void out8(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }

static void print(const char* text) {
  for (; *text != 0; ++text) out8(SERIAL, (uint8_t)*text);
}

static void print_number(const char* name, uint32_t value) {
  char digits[11];
  char* at = digits + 10;
  *at = 0;
  do {
    *--at = (char)('0' + value % 10);
    value /= 10;
  } while (value != 0);
  print(name);
  print(at);
  print("\n");
}

static void print_text(const char* name, uintptr_t text) {
  print(name);
  print((const char*)text);
  print("\n");
}

static uint32_t at32(uintptr_t address) { return *(const volatile uint32_t*)address; }

static uint32_t sum(uintptr_t start, uint32_t size) {
  uint32_t total = 0;
  for (uint32_t i = 0; i < size; ++i) total = total * 31 + ((const uint8_t*)start)[i];
  return total;
}

// Whether an entry of usable memory holds this program. Entries have address, length and type at these offsets.
static int map_has_program(uintptr_t map, uint32_t count, uint32_t stride, uint32_t type_at) {
  uint64_t here = (uintptr_t)zeroed;
  for (uint32_t i = 0; i < count; ++i, map += stride) {
    uint64_t base = at32(map) | (uint64_t)at32(map + 4) << 32, size = at32(map + 8) | (uint64_t)at32(map + 12) << 32;
    if (at32(map + type_at) == 1 && here >= base && here - base < size) return 1;
  }
  return 0;
}

static void multiboot(uint32_t magic, uintptr_t info) {
  uint32_t flags = at32(info);
  print_number("magic is right: ", magic == 0x2badb002);
  print_number("memory, command line, modules, map: ", flags >> 0 & 1);
  print_number("", flags >> 2 & 1);
  print_number("", flags >> 3 & 1);
  print_number("", flags >> 6 & 1);
  print_number("at least 60 MiB above 1 MiB: ", at32(info + 8) >= 60 * 1024);
  print_text("command line: ", at32(info + 16));
  uint32_t modules = (flags & 8) != 0 ? at32(info + 20) : 0;
  for (uint32_t i = 0; i < modules; ++i) {
    uintptr_t module = at32(info + 24) + 16 * i;
    uint32_t start = at32(module), size = at32(module + 4) - start;
    print_text("module: ", at32(module + 8));
    print_number("  aligned: ", (start & 4095) == 0);
    print_number("  size: ", size);
    print_number("  sum: ", sum(start, size));
  }
  print_number("map has this program: ", map_has_program(at32(info + 48) + 4, at32(info + 44) / 24, 24, 16));
}

static void pvh(uintptr_t info) {
  print_number("magic is right: ", at32(info) == 0x336ec578);
  print_text("command line: ", at32(info + 24));
  uint32_t modules = at32(info + 12);
  print_number("modules: ", modules);
  if (modules > 0) {
    uintptr_t module = at32(info + 16);
    print_number("  size: ", at32(module + 8));
    print_number("  sum: ", sum(at32(module), at32(module + 8)));
  }
  print_number("map has this program: ", map_has_program(at32(info + 40), at32(info + 48), 24, 16));
}

static void zero_page(uintptr_t page) {
  print_text("command line: ", at32(page + 0x228));
  print_number("initrd size: ", at32(page + 0x21c));
  print_number("initrd sum: ", sum(at32(page + 0x218), at32(page + 0x21c)));
  print_number("map has this program: ", map_has_program(page + 0x2d0, ((const uint8_t*)page)[0x1e8], 20, 16));
}

void boot_main(int protocol, uint32_t magic, uintptr_t info);
void boot_main(int protocol, uint32_t magic, uintptr_t info) {
  print_number("boot: pointers of bytes: ", sizeof(void*));
  uint32_t dirty = 0;
  for (unsigned i = 0; i < sizeof zeroed / sizeof *zeroed; ++i) dirty |= zeroed[i];
  print_number("bss is zero: ", dirty == 0);
  if (protocol == BOOT_PVH) {
    pvh(info);
  } else if (protocol == BOOT_ELF) {
    zero_page(info);
  } else {
    multiboot(magic, info);
  }
  print("boot: done\n");
  out8(DEBUG_EXIT, 0x10);
}
