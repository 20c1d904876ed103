// How a Translator is made; for tests and comparisons.
#pragma once

#include <cstddef>

namespace dejavm::soft {

struct TranslatorOptions {
  size_t code_size = size_t{64} << 20;  ///< bytes of host code, then everything is thrown away; at least 256 KiB
  unsigned visits = 8;                  ///< of a block before it is translated: most of what boots runs seldom
  bool trust_host_flags = true;         ///< false: as on a host whose undefined flags are not the CPU model's
};

}  // namespace dejavm::soft
