// The classes of accesses of mmio_exerciser, one function each, to be found by symbol.
#pragma once

#include <stdint.h>

// A class returns a hash of every value that it read.
typedef uint64_t (*exercise)(uintptr_t base);

struct exercise_class {
  const char* name;
  exercise run;
};

// Classes that need three 8-byte registers in a row that keep what was written, and never read past a 4-byte write: the same
// on edu's DMA registers and in RAM. `base` is the first of the three.
extern const struct exercise_class kStorageClasses[];
extern const unsigned kStorageClassCount;

// Classes whose results depend on the device and on how the machine splits accesses. `base` is the start of edu's registers.
extern const struct exercise_class kDeviceClasses[];
extern const unsigned kDeviceClassCount;
