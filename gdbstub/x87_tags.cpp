#include "gdbstub/x87_tags.h"

#include <array>

#include "base/bytes.h"

namespace dejavm::gdb {

namespace {

constexpr unsigned kValid = 0, kZero = 1, kSpecial = 2, kEmpty = 3;

unsigned classify(const std::array<uint8_t, 16>& st) {
  const uint64_t significand = load_le<uint64_t>(st.data());
  const unsigned exponent = load_le<uint16_t>(st.data() + 8) & 0x7fffu;
  if (exponent == 0) return significand == 0 ? kZero : kSpecial;
  if (exponent == 0x7fff) return kSpecial;
  return (significand >> 63) != 0 ? kValid : kSpecial;
}

}  // namespace

uint16_t full_tags(const vm::Fpu& fpu) {
  const unsigned top = (fpu.fsw >> 11) & 7u;
  unsigned tags = 0;
  for (unsigned physical = 0; physical < 8; ++physical) {
    const bool used = ((fpu.ftw >> physical) & 1u) != 0;
    const unsigned tag = used ? classify(fpu.st[(physical - top) & 7u]) : kEmpty;
    tags |= tag << (2 * physical);
  }
  return static_cast<uint16_t>(tags);
}

uint8_t abridged_tags(uint16_t full) {
  unsigned abridged = 0;
  for (unsigned physical = 0; physical < 8; ++physical) {
    if (((full >> (2 * physical)) & 3u) != kEmpty) abridged |= 1u << physical;
  }
  return static_cast<uint8_t>(abridged);
}

}  // namespace dejavm::gdb
