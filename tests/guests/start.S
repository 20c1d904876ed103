// From the reset vector in real mode through protected mode to C's main() in long mode at privilege level 0.
// The code of .reset runs in ROM at its own address (the last 4 KiB below 4 GiB); everything else runs in RAM at 1 MiB.
// Interrupts stay off until the guest turns them on.

#define ROM_BASE 0xffff0000          // base of CS after reset

#define SELECTOR_CODE32 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_CODE64 0x18

// Every entry has its accessed and dirty bits set from the start, so that only the guest's own code changes page tables.
#define TABLE 0x23                   // present, writable, accessed
#define LARGE_RAM 0xe3               // present, writable, accessed, dirty, 2 MiB
#define LARGE_DEVICE 0xfb            // the same, not cached

#define WINDOW_PML4_INDEX 402        // 0xffffc90000000000, see lib/paging.h

#define CR0_LONG_MODE 0x80010033     // PG WP NE ET MP PE
#define CR4_LONG_MODE 0x00000620     // OSXMMEXCPT OSFXSR PAE
#define MSR_EFER 0xc0000080
#define EFER_LME 0x00000100

  .section .reset, "ax"
  .code16
  .globl reset_entry
reset_entry:
  cli
  cld
  lgdtl %cs:(rom_gdt_pointer - ROM_BASE)
  movl %cr0, %eax
  orb $1, %al
  movl %eax, %cr0
  ljmpl $SELECTOR_CODE32, $protected_entry

  .code32
  .globl protected_entry
protected_entry:
  movw $SELECTOR_DATA, %ax
  movw %ax, %ds
  movw %ax, %es
  movw %ax, %ss

  movl $program_load, %esi
  movl $program_start, %edi
  movl $program_end, %ecx
  subl %edi, %ecx
  shrl $2, %ecx
  rep movsl
  movl $bss_start, %edi
  movl $bss_end, %ecx
  subl %edi, %ecx
  shrl $2, %ecx
  xorl %eax, %eax
  rep stosl

  // The low 16 MiB at their physical addresses.
  movl $(pdpt_low + TABLE), pml4
  movl $(pd_low + TABLE), pdpt_low
  movl $LARGE_RAM, %eax
  movl $pd_low, %edi
1:
  movl %eax, (%edi)
  addl $8, %edi
  addl $0x200000, %eax
  cmpl $0x1000000, %eax
  jb 1b

  // The PCI hole and the ROM, 0xe0000000-0xffffffff, at their physical addresses.
  movl $(pd_hole + TABLE), pdpt_low + 3 * 8
  movl $(0xe0000000 + LARGE_DEVICE), %eax
  movl $(pd_hole + 256 * 8), %edi
1:
  movl %eax, (%edi)
  addl $8, %edi
  addl $0x200000, %eax
  jnc 1b

  // The window: an empty table of 4 KiB pages for lib/paging.c.
  movl $(pdpt_window + TABLE), pml4 + WINDOW_PML4_INDEX * 8
  movl $(pd_window + TABLE), pdpt_window
  movl $(window_page_table + TABLE), pd_window

  movl $CR4_LONG_MODE, %eax
  movl %eax, %cr4
  movl $pml4, %eax
  movl %eax, %cr3
  movl $MSR_EFER, %ecx
  rdmsr
  orl $EFER_LME, %eax
  wrmsr
  movl $CR0_LONG_MODE, %eax
  movl %eax, %cr0
  ljmpl $SELECTOR_CODE64, $long_entry

  .code64
  .globl long_entry
long_entry:
  movl $program_entry, %eax
  jmp *%rax

  .balign 8
rom_gdt:
  .quad 0
  .quad 0x00cf9b000000ffff           // 32-bit code
  .quad 0x00cf93000000ffff           // data
  .quad 0x00af9b000000ffff           // 64-bit code
rom_gdt_pointer:
  .word . - rom_gdt - 1
  .long rom_gdt

  .org 0xff0
  .code16
  .globl reset_vector
reset_vector:
  jmp reset_entry
  .org 0x1000

  .cfi_sections .debug_frame
  .section .text.entry, "ax"
  .code64
  .globl program_entry
  .type program_entry, @function
program_entry:
  .cfi_startproc
  .cfi_undefined rip                 // the outermost frame of every backtrace
  movl $stack_top, %esp
  lgdt gdt_pointer
  xorl %ebp, %ebp
  call interrupts_init
  call main
  movl %eax, %edi
  call machine_exit
  .cfi_endproc
  .size program_entry, . - program_entry

  .section .data.gdt, "aw"
  .balign 8
gdt:
  .quad 0
  .quad 0x00cf9b000000ffff
  .quad 0x00cf93000000ffff
  .quad 0x00af9b000000ffff
gdt_pointer:
  .word . - gdt - 1
  .quad gdt

  .section .bss.tables, "aw", @nobits
  .balign 4096
  .globl pml4, window_page_table, stack_top
pml4: .skip 4096
pdpt_low: .skip 4096
pd_low: .skip 4096
pd_hole: .skip 4096
pdpt_window: .skip 4096
pd_window: .skip 4096
window_page_table: .skip 4096
  .skip 16384
stack_top:

  .section .note.GNU-stack, "", @progbits
