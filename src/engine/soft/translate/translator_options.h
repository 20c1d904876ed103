// How a Translator is made; for tests and comparisons.
#pragma once

#include <cstddef>

namespace dejavm::soft {

struct TranslatorOptions {
  size_t code_size = size_t{64} << 20;  ///< bytes of host code, then everything is thrown away; at least 256 KiB
  unsigned visits = 2;                  ///< how often a block comes up before it is translated: much of what boots runs once
  bool trust_host_flags = true;         ///< false: as on a host whose undefined flags are not the CPU model's
};

}  // namespace dejavm::soft
