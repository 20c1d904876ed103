// A flat real-mode image for 0x7c00. It is also a boot sector, so that firmware can start it.
  .code16
  .section .text, "ax"
  .globl flat_entry
flat_entry:
  cli
  cld
  xorw %ax, %ax
  movw %ax, %ds
  call 1f
1:
  popw %bx                           // where it runs, if the stack works
  subw $(1b - flat_entry), %bx
  movw $(0x7c00 + text - flat_entry), %si
  movw $0x3f8, %dx
2:
  lodsb
  testb %al, %al
  jz 3f
  outb %al, %dx
  jmp 2b
3:
  movb $0x21, %al
  cmpw $0x7c00, %bx
  jne 4f
  movb $0x10, %al
4:
  movw $0x501, %dx
  outb %al, %dx
5:
  hlt
  jmp 5b
text:
  .asciz "boot: flat image in real mode\n"
  .org 510
  .word 0xaa55
