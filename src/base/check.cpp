#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace dejavm {

void check_failed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "dejavm: internal error at %s:%d: %s does not hold. Please report this.\n", file, line, condition);
  std::abort();
}

}  // namespace dejavm
