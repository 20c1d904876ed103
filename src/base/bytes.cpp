#include "base/bytes.h"

#include <array>

namespace dejavm {

namespace {

/// The two digits of each byte, as they lie in memory.
constexpr std::array<uint16_t, 256> kDigitPairs = [] {
  constexpr char kDigits[] = "0123456789abcdef";
  std::array<uint16_t, 256> pairs{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    pairs[byte] = static_cast<uint16_t>(kDigits[byte >> 4] | kDigits[byte & 15] << 8);
  }
  return pairs;
}();

}  // namespace

std::string to_hex(ByteSpan bytes) {
  std::string text(bytes.size() * 2, '\0');
  char* to = text.data();
  for (size_t i = 0; i < bytes.size(); ++i) std::memcpy(to + 2 * i, &kDigitPairs[bytes[i]], sizeof(uint16_t));
  return text;
}

}  // namespace dejavm
