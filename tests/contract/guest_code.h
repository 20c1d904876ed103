// Guest programs written beside the test that runs them.
#pragma once

#include "base/bytes.h"

/// Defines `ByteSpan NAME()`: the machine code of TEXT (Intel syntax) for BITS (16, 32, 64) bit code. At namespace scope,
/// the name unique in the program. Code is position independent unless it says otherwise.
#define GUEST(NAME, BITS, TEXT)                                                          \
  asm(".pushsection .rodata\n.intel_syntax noprefix\n.code" #BITS                        \
      "\n"                                                                               \
      ".globl guest_" #NAME "_begin, guest_" #NAME                                       \
      "_end\n"                                                                           \
      ".hidden guest_" #NAME "_begin, guest_" #NAME                                      \
      "_end\n"                                                                           \
      "guest_" #NAME "_begin:\n" TEXT "\nguest_" #NAME                                   \
      "_end:\n"                                                                          \
      ".code64\n.att_syntax prefix\n.popsection\n");                                     \
  extern "C" __attribute__((visibility("hidden"))) const uint8_t guest_##NAME##_begin[]; \
  extern "C" __attribute__((visibility("hidden"))) const uint8_t guest_##NAME##_end[];   \
  [[maybe_unused]] static ::dejavm::ByteSpan NAME() { return {guest_##NAME##_begin, guest_##NAME##_end}; }
