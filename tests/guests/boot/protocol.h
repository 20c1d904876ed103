// The boot protocols of these guests; for C and assembly.
#pragma once

#define BOOT_MULTIBOOT 1
#define BOOT_MULTIBOOT_RAW 2
#define BOOT_PVH 3
#define BOOT_ELF 4
