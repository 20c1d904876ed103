// One stub a vector: 32 exceptions, 16 interrupt lines, 48 more. Each pushes what interrupt_dispatch() needs to know and joins the
// common path, which saves the registers that C may change. See struct interrupt_frame in lib/interrupts.h.

  .cfi_sections .debug_frame
  .text
  .globl interrupt_stub_first
  .balign 16
interrupt_stub_first:
  .set vector, 0
  .rept 96
  .balign 16
  // Vectors 8, 10-14, 17, 21, 29 and 30 have an error code from the CPU; the others get a zero in its place.
  .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
  pushq $0
  .endif
  pushq $vector
  jmp interrupt_common
  .set vector, vector + 1
  .endr

  .globl interrupt_common
  .type interrupt_common, @function
interrupt_common:
  .cfi_startproc simple
  .cfi_signal_frame
  .cfi_def_cfa rsp, 56               // vector, error code, then RIP, CS, RFLAGS, RSP, SS
  .cfi_offset rip, -40
  .cfi_offset rsp, -16
  pushq %rax
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset rax, 0
  pushq %rcx
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset rcx, 0
  pushq %rdx
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset rdx, 0
  pushq %rsi
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset rsi, 0
  pushq %rdi
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset rdi, 0
  pushq %r8
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset r8, 0
  pushq %r9
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset r9, 0
  pushq %r10
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset r10, 0
  pushq %r11
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset r11, 0
  cld
  movq %rsp, %rdi
  call interrupt_dispatch
  popq %r11
  .cfi_adjust_cfa_offset -8
  popq %r10
  .cfi_adjust_cfa_offset -8
  popq %r9
  .cfi_adjust_cfa_offset -8
  popq %r8
  .cfi_adjust_cfa_offset -8
  popq %rdi
  .cfi_adjust_cfa_offset -8
  popq %rsi
  .cfi_adjust_cfa_offset -8
  popq %rdx
  .cfi_adjust_cfa_offset -8
  popq %rcx
  .cfi_adjust_cfa_offset -8
  popq %rax
  .cfi_adjust_cfa_offset -8
  addq $16, %rsp
  .cfi_adjust_cfa_offset -16
  iretq
  .cfi_endproc
  .size interrupt_common, . - interrupt_common

  .section .note.GNU-stack, "", @progbits
