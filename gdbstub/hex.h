// Hexadecimal text as the remote protocol writes it, and a cursor over a packet's text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace dejavm::gdb {

using dejavm::to_hex;

std::optional<uint8_t> hex_digit(char c);

/// The bytes of a text; two digits each.
std::string to_hex(std::string_view text);

/// Bytes from pairs of digits; nullopt for an odd count or another character.
std::optional<Bytes> from_hex(std::string_view text);

/// Consumes a packet's text from the left. Every take_*() leaves the cursor where it was when it fails.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}

  bool done() const { return text_.empty(); }
  std::string_view rest() const { return text_; }

  bool take(std::string_view literal);
  /// A number of 1 to 16 hexadecimal digits.
  std::optional<uint64_t> take_hex();
  /// The next `count` characters.
  std::optional<std::string_view> take_count(uint64_t count);
  /// Everything up to `separator` (which is consumed too) or to the end.
  std::string_view take_until(char separator);

 private:
  std::string_view text_;
};

}  // namespace dejavm::gdb
