// The entry of a guest that a boot loader starts: hands what the registers hold to boot_main(). BOOT_PROTOCOL says which
// header the file has.
#include "protocol.h"

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_ALIGN_AND_MEMORY 0x3
#define MULTIBOOT_ADDRESSES 0x10000
#define XEN_PHYS32_ENTRY 18

#if BOOT_PROTOCOL == BOOT_MULTIBOOT
  .section .boot_header, "a"
  .balign 4
  .long MULTIBOOT_MAGIC
  .long MULTIBOOT_ALIGN_AND_MEMORY
  .long -(MULTIBOOT_MAGIC + MULTIBOOT_ALIGN_AND_MEMORY)
#elif BOOT_PROTOCOL == BOOT_MULTIBOOT_RAW
  .section .boot_header, "a"
  .balign 4
multiboot_header:
  .long MULTIBOOT_MAGIC
  .long MULTIBOOT_ADDRESSES | MULTIBOOT_ALIGN_AND_MEMORY
  .long -(MULTIBOOT_MAGIC + (MULTIBOOT_ADDRESSES | MULTIBOOT_ALIGN_AND_MEMORY))
  .long multiboot_header
  .long image_start
  .long image_end
  .long bss_end
  .long boot_entry
#elif BOOT_PROTOCOL == BOOT_PVH
  .section .note.Xen, "a", @note
  .balign 4
  .long 4
  .long 4
  .long XEN_PHYS32_ENTRY
  .asciz "Xen"
  .long boot_entry
#endif

  .section .text.entry, "ax"
  .globl boot_entry
boot_entry:
#ifdef __x86_64__
  leaq stack_top(%rip), %rsp
  movq %rsi, %rdx
  movl %eax, %esi
  movl $BOOT_PROTOCOL, %edi
  call boot_main
#else
  movl $stack_top, %esp
#if BOOT_PROTOCOL == BOOT_ELF
  pushl %esi
#else
  pushl %ebx
#endif
  pushl %eax
  pushl $BOOT_PROTOCOL
  call boot_main
#endif
1:
  hlt
  jmp 1b

  .section .bss
  .balign 16
  .skip 8192
stack_top:

  .section .note.GNU-stack, "", @progbits
