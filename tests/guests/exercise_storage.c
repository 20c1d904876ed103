#include "exercise.h"
#include "lib/lib.h"

#define SLOT(base, n) ((base) + 8 * (uintptr_t)(n))

static const uint64_t kPattern0 = 0x0123456789abcdef;
static const uint64_t kPattern1 = 0xfedcba9876543210;
static const uint64_t kPattern2 = 0x00ff00ffaa5533cc;

static void fill(uintptr_t base) {
  mmio_write64(SLOT(base, 0), kPattern0);
  mmio_write64(SLOT(base, 1), kPattern1);
  mmio_write64(SLOT(base, 2), kPattern2);
}

static void fill32(uintptr_t base) {
  mmio_write64(SLOT(base, 0), (uint32_t)kPattern0);
  mmio_write64(SLOT(base, 1), (uint32_t)kPattern1);
  mmio_write64(SLOT(base, 2), (uint32_t)kPattern2);
}

static uint64_t mix_slots(uint64_t hash, uintptr_t base) {
  for (unsigned n = 0; n < 3; ++n) hash = mix(hash, mmio_read64(SLOT(base, n)));
  return hash;
}

static uint64_t mix_slots32(uint64_t hash, uintptr_t base) {
  for (unsigned n = 0; n < 3; ++n) hash = mix(hash, mmio_read32(SLOT(base, n)));
  return hash;
}

// An instruction on (%base) with an operand that it may change; what is left in the operand, and CF and ZF, are hashed.
#define ON_MEMORY(hash, instruction, address, operand)                            \
  do {                                                                            \
    uint64_t value_ = (operand);                                                  \
    uint8_t carry_, zero_;                                                        \
    __asm__ volatile("xorl %%eax, %%eax\n  " instruction "\n  setc %1\n  setz %2" \
                     : "+r"(value_), "=&r"(carry_), "=&r"(zero_)                  \
                     : "r"(address)                                               \
                     : "memory", "cc", "rax");                                    \
    (hash) = mix((hash), value_);                                                 \
    (hash) = mix((hash), carry_ * 2u + zero_);                                    \
  } while (0)

// Plain moves of 4 and 8 bytes: registers old and new, immediates, scaled and absolute addresses.
static uint64_t ex_moves(uintptr_t base) {
  uint64_t hash = 1;
  fill(base);
  hash = mix_slots(hash, base);
  uint64_t a, b, c;
  __asm__ volatile(
      "movq (%3), %%r12\n  movq 8(%3), %%r15\n  movl 16(%3), %%r9d\n"
      "movq %%r12, %0\n  movq %%r15, %1\n  movq %%r9, %2\n"
      "movq %%r12, 8(%3)\n  movq %%r15, 16(%3)\n"
      : "=&r"(a), "=&r"(b), "=&r"(c)
      : "r"(base)
      : "memory", "r9", "r12", "r15");
  hash = mix_slots(mix(mix(mix(hash, a), b), c), base);
  __asm__ volatile("movq $-559038737, (%0)\n  movq $305419896, (%0,%1,8)" : : "r"(base), "r"(2ul) : "memory");
  hash = mix_slots(hash, base);
  __asm__ volatile("movslq (%1), %0" : "=r"(a) : "r"(base) : "memory");
  hash = mix(hash, a);
  fill32(base);
  __asm__ volatile("movl $0x9abcdef0, (%0)\n  movl %k1, 8(%0)\n  movntil %k1, 16(%0)" : : "r"(base), "r"(a) : "memory");
  return mix_slots32(hash, base);
}

// The operations that read, change and write one location, 8 bytes.
static uint64_t ex_read_modify_write64(uintptr_t base) {
  uint64_t hash = 2;
  fill(base);
  ON_MEMORY(hash, "orq %0, (%3)", SLOT(base, 0), 0xf0f0);
  ON_MEMORY(hash, "andq %0, (%3)", SLOT(base, 1), 0xffffffff0000ffff);
  ON_MEMORY(hash, "xorq %0, (%3)", SLOT(base, 2), 0xffff0000ffff0000);
  ON_MEMORY(hash, "addq %0, (%3)", SLOT(base, 0), 0xfedcba9876543211);
  ON_MEMORY(hash, "stc\n  adcq %0, (%3)", SLOT(base, 1), 0x1111);
  ON_MEMORY(hash, "subq %0, (%3)", SLOT(base, 2), 0x123456789);
  ON_MEMORY(hash, "stc\n  sbbq %0, (%3)", SLOT(base, 0), 0x77);
  ON_MEMORY(hash, "incq (%3)", SLOT(base, 1), 0);
  ON_MEMORY(hash, "decq (%3)", SLOT(base, 2), 0);
  ON_MEMORY(hash, "notq (%3)", SLOT(base, 0), 0);
  ON_MEMORY(hash, "negq (%3)", SLOT(base, 1), 0);
  ON_MEMORY(hash, "addq $0x7f, (%3)", SLOT(base, 2), 0);
  ON_MEMORY(hash, "orq $0x7f000000, (%3)", SLOT(base, 2), 0);
  return mix_slots(hash, base);
}

// The same, 4 bytes.
static uint64_t ex_read_modify_write32(uintptr_t base) {
  uint64_t hash = 3;
  fill32(base);
  ON_MEMORY(hash, "orl %k0, (%3)", SLOT(base, 0), 0xf0f0);
  ON_MEMORY(hash, "andl %k0, (%3)", SLOT(base, 1), 0xff00ffff);
  ON_MEMORY(hash, "xorl %k0, (%3)", SLOT(base, 2), 0xffff0000);
  ON_MEMORY(hash, "addl %k0, (%3)", SLOT(base, 0), 0x76543211);
  ON_MEMORY(hash, "subl %k0, (%3)", SLOT(base, 1), 0x12345);
  ON_MEMORY(hash, "incl (%3)", SLOT(base, 2), 0);
  ON_MEMORY(hash, "decl (%3)", SLOT(base, 0), 0);
  ON_MEMORY(hash, "notl (%3)", SLOT(base, 1), 0);
  ON_MEMORY(hash, "negl (%3)", SLOT(base, 2), 0);
  return mix_slots32(hash, base);
}

// Exchanges, with and without the lock prefix; a compare-exchange that fails writes as well.
static uint64_t ex_exchange(uintptr_t base) {
  uint64_t hash = 4;
  fill(base);
  ON_MEMORY(hash, "xchgq %0, (%3)", SLOT(base, 0), 0x1111222233334444);
  ON_MEMORY(hash, "lock xaddq %0, (%3)", SLOT(base, 1), 0x10);
  ON_MEMORY(hash, "xaddq %0, (%3)", SLOT(base, 2), 0x1000000000);
  ON_MEMORY(hash, "movq (%3), %%rax\n  lock cmpxchgq %0, (%3)", SLOT(base, 0), 0x5555);
  ON_MEMORY(hash, "xorl %%eax, %%eax\n  lock cmpxchgq %0, (%3)", SLOT(base, 1), 0x6666);
  ON_MEMORY(hash, "xorl %%eax, %%eax\n  cmpxchgq %0, (%3)", SLOT(base, 2), 0x7777);
  ON_MEMORY(hash, "lock incq (%3)", SLOT(base, 0), 0);
  ON_MEMORY(hash, "lock orq %0, (%3)", SLOT(base, 1), 0x8000000000000000);
  hash = mix_slots(hash, base);
  fill32(base);
  ON_MEMORY(hash, "xchgl %k0, (%3)", SLOT(base, 0), 0x33334444);
  ON_MEMORY(hash, "lock xaddl %k0, (%3)", SLOT(base, 1), 0x10);
  ON_MEMORY(hash, "movl (%3), %%eax\n  lock cmpxchgl %k0, (%3)", SLOT(base, 2), 0x5555);
  hash = mix_slots32(hash, base);
  fill(base);
  uint64_t low = (uint32_t)kPattern0, high = kPattern0 >> 32;
  for (unsigned attempt = 0; attempt < 2; ++attempt) {  // the first succeeds, the second does not
    __asm__ volatile("lock cmpxchg8b (%2)" : "+a"(low), "+d"(high) : "r"(base), "b"(0x55aa), "c"(0xaa55) : "memory", "cc");
    hash = mix(mix(hash, low), high);
  }
  return mix_slots(hash, base);
}

// Single bits; a bit number in a register reaches beyond the operand that is named.
static uint64_t ex_bits(uintptr_t base) {
  uint64_t hash = 5;
  fill(base);
  ON_MEMORY(hash, "btsq $4, (%3)", SLOT(base, 0), 0);
  ON_MEMORY(hash, "lock btrq $63, (%3)", SLOT(base, 1), 0);
  ON_MEMORY(hash, "btcq $33, (%3)", SLOT(base, 2), 0);
  ON_MEMORY(hash, "btq $6, (%3)", SLOT(base, 0), 0);
  ON_MEMORY(hash, "btsq %0, (%3)", SLOT(base, 0), 70);
  ON_MEMORY(hash, "btcq %0, (%3)", SLOT(base, 0), 64 + 64 + 3);
  ON_MEMORY(hash, "lock btrq %0, (%3)", SLOT(base, 2), (uint64_t)-60);
  return mix_slots(hash, base);
}

// Shifts and rotates of the location itself. Only what is left in it is hashed: some flags are undefined.
static uint64_t ex_shifts(uintptr_t base) {
  uint64_t hash = 6;
  fill(base);
  __asm__ volatile(
      "shlq $5, (%0)\n  shrq $1, 8(%0)\n  sarq $7, 16(%0)\n  rolq $13, (%0)\n  movl $3, %%ecx\n  rorq %%cl, 8(%0)\n"
      "clc\n  rclq $1, 16(%0)\n"
      "shldq $9, %1, (%0)\n  shrdq $21, %1, 8(%0)\n"
      :
      : "r"(base), "r"(kPattern2)
      : "memory", "cc", "ecx");
  return mix_slots(hash, base);
}

// Instructions that only read: comparisons, arithmetic into registers, conditional moves.
static uint64_t ex_read_operands(uintptr_t base) {
  uint64_t hash = 7;
  fill(base);
  ON_MEMORY(hash, "cmpq %0, (%3)", SLOT(base, 0), 0x0123456789abcdef);
  ON_MEMORY(hash, "cmpq (%3), %0", SLOT(base, 1), 0x10);
  ON_MEMORY(hash, "cmpq $-1, (%3)", SLOT(base, 2), 0);
  ON_MEMORY(hash, "testq %0, (%3)", SLOT(base, 0), 0x1000);
  ON_MEMORY(hash, "testl $0x10, (%3)", SLOT(base, 1), 0);
  ON_MEMORY(hash, "addq (%3), %0", SLOT(base, 2), 0xff00000000000000);
  ON_MEMORY(hash, "andq (%3), %0", SLOT(base, 0), 0xffffffff);
  ON_MEMORY(hash, "cmpq %0, %0\n  cmoveq (%3), %0", SLOT(base, 1), 5);
  ON_MEMORY(hash, "cmpq %0, %0\n  cmovneq (%3), %0", SLOT(base, 2), 5);
  uint64_t product = 12345;
  __asm__ volatile("imulq (%1), %0" : "+r"(product) : "r"(base) : "memory", "cc");
  uint64_t low = kPattern2, high = 3;
  __asm__ volatile("divq (%2)" : "+a"(low), "+d"(high) : "r"(SLOT(base, 1)) : "memory", "cc");
  hash = mix(mix(mix(hash, product), low), high);
  __asm__ volatile("mulq (%2)" : "+a"(low), "=d"(high) : "r"(SLOT(base, 2)) : "memory", "cc");
  return mix(mix(hash, low), high);
}

// Push and pop with the location as operand, and with the stack itself there.
static uint64_t ex_stack(uintptr_t base) {
  uint64_t hash = 8;
  fill(base);
  uint64_t popped, called;
  __asm__ volatile(
      "pushq (%2)\n  popq 8(%2)\n"  // slot 1 = slot 0
      "movq %%rsp, %%r12\n"
      "leaq 24(%2), %%rsp\n"  // a stack of three slots
      "pushq %%r12\n  pushq $0x5a5a\n  popq %0\n"
      "call 1f\n"
      "movq %%rax, %1\n"
      "popq %%rsp\n"
      "jmp 2f\n"
      "1: movl $0x600d, %%eax\n  ret\n"
      "2:\n"
      : "=&r"(popped), "=&r"(called)
      : "r"(base)
      : "memory", "cc", "rax", "r12");
  hash = mix(mix(hash, popped), called);
  return mix(hash, mmio_read64(SLOT(base, 0)));  // the others hold stack and return addresses
}

static uint64_t ram_source[3];
static uint64_t ram_target[3];

// String instructions on 8-byte elements, both directions, alone and repeated, to and from RAM and inside the device.
static uint64_t ex_strings(uintptr_t base) {
  uint64_t hash = 9;
  for (unsigned i = 0; i < 3; ++i) ram_source[i] = kPattern1 + i;
  uint64_t count = 3, from = (uintptr_t)ram_source, to = base, value = 0, zero;
  __asm__ volatile("rep movsq" : "+c"(count), "+S"(from), "+D"(to) : : "memory");
  hash = mix_slots(mix(hash, count), base);
  count = 3, from = base, to = (uintptr_t)ram_target;
  __asm__ volatile("rep movsq" : "+c"(count), "+S"(from), "+D"(to) : : "memory");
  for (unsigned i = 0; i < 3; ++i) hash = mix(hash, ram_target[i]);
  from = base, to = SLOT(base, 2);
  __asm__ volatile("movsq" : "+S"(from), "+D"(to) : : "memory");
  hash = mix_slots(mix(hash, from - base), base);
  count = 2, from = SLOT(base, 1), to = SLOT(base, 2);
  __asm__ volatile("std\n  rep movsq\n  cld" : "+c"(count), "+S"(from), "+D"(to) : : "memory");
  hash = mix_slots(mix(hash, SLOT(base, 2) - to), base);
  count = 3, from = base;
  __asm__ volatile("rep lodsq" : "+c"(count), "+S"(from), "+a"(value) : : "memory");
  hash = mix(hash, value);
  count = 3, to = base, value = kPattern1;  // repne scas: finds it in a slot, or not
  __asm__ volatile("cmpq %%rsp, %%rax\n  repne scasq\n  sete %b3"
                   : "+c"(count), "+D"(to), "+a"(value), "=r"(zero)
                   :
                   : "memory", "cc");
  hash = mix(mix(hash, count), zero & 1);
  count = 3, from = base, to = (uintptr_t)ram_source;
  __asm__ volatile("repe cmpsq" : "+c"(count), "+S"(from), "+D"(to) : : "memory", "cc");
  hash = mix(hash, count);
  count = 3, to = base, value = kPattern2;
  __asm__ volatile("rep stosq" : "+c"(count), "+D"(to) : "a"(value) : "memory");
  hash = mix_slots(hash, base);
  count = 0, to = base, value = 1;  // nothing at all
  __asm__ volatile("rep stosq" : "+c"(count), "+D"(to) : "a"(value) : "memory");
  to = base;
  __asm__ volatile("stosl" : "+D"(to) : "a"(value) : "memory");
  return mix(hash, mmio_read32(base));
}

static uint64_t vector_target[2] __attribute__((aligned(16)));

// 16-byte moves through the SSE registers, which the device sees as two of 8 bytes.
static uint64_t ex_vector_moves(uintptr_t base) {
  uint64_t hash = 10;
  fill(base);
  __asm__ volatile("movups 8(%0), %%xmm0\n  movaps %%xmm0, (%1)" : : "r"(base), "r"(vector_target) : "memory");
  hash = mix(mix(hash, vector_target[0]), vector_target[1]);
  __asm__ volatile("movaps (%0), %%xmm1\n  movups %%xmm1, 8(%0)" : : "r"(base) : "memory");
  hash = mix_slots(hash, base);
  __asm__ volatile("movdqa (%1), %%xmm9\n  movdqa %%xmm9, (%0)" : : "r"(base), "r"(vector_target) : "memory");
  hash = mix_slots(hash, base);
  __asm__ volatile("movdqu (%0), %%xmm15\n  movdqu %%xmm15, 8(%0)" : : "r"(base) : "memory");
  return mix_slots(hash, base);
}

static uint64_t landing(void) { return 0x1a4d; }

// Calls and jumps through a pointer that the location holds.
static uint64_t ex_indirect_branches(uintptr_t base) {
  uint64_t hash = 11;
  mmio_write64(SLOT(base, 1), (uintptr_t)landing);
  uint64_t result, jumped;
  __asm__ volatile(
      "call *8(%2)\n  movq %%rax, %0\n"
      "leaq 1f(%%rip), %%rax\n  movq %%rax, 16(%2)\n  movl $1, %k1\n  jmp *16(%2)\n  movl $2, %k1\n1:\n"
      : "=&b"(result), "=&r"(jumped)
      : "r"(base)
      : "memory", "cc", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11");
  return mix(mix(hash, result), jumped);
}

const struct exercise_class kStorageClasses[] = {
    {"ex_moves", ex_moves},
    {"ex_read_modify_write64", ex_read_modify_write64},
    {"ex_read_modify_write32", ex_read_modify_write32},
    {"ex_exchange", ex_exchange},
    {"ex_bits", ex_bits},
    {"ex_shifts", ex_shifts},
    {"ex_read_operands", ex_read_operands},
    {"ex_stack", ex_stack},
    {"ex_strings", ex_strings},
    {"ex_vector_moves", ex_vector_moves},
    {"ex_indirect_branches", ex_indirect_branches},
};
const unsigned kStorageClassCount = sizeof kStorageClasses / sizeof kStorageClasses[0];
