// Prints numbered lines for ever. What a recording that was killed must hold is then easy to tell from the output.
#include "lib/lib.h"

int main(void) {
  console_init();
  for (unsigned line = 0;; ++line) print("serial_flood: line %u\n", line);
}
