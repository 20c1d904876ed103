#include "gdbstub/hex.h"

#include <algorithm>

namespace dejavm::gdb {

std::optional<uint8_t> hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<uint8_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<uint8_t>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<uint8_t>(c - 'A' + 10);
  return std::nullopt;
}

std::string to_hex(std::string_view text) {
  return dejavm::to_hex(ByteSpan{reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

std::optional<Bytes> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  Bytes bytes;
  bytes.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    const auto high = hex_digit(text[i]);
    const auto low = hex_digit(text[i + 1]);
    if (!high || !low) return std::nullopt;
    bytes.push_back(static_cast<uint8_t>((*high << 4) | *low));
  }
  return bytes;
}

bool Cursor::take(std::string_view literal) {
  if (!text_.starts_with(literal)) return false;
  text_.remove_prefix(literal.size());
  return true;
}

std::optional<uint64_t> Cursor::take_hex() {
  constexpr size_t kMaxDigits = 16;
  uint64_t value = 0;
  size_t digits = 0;
  for (; digits < text_.size(); ++digits) {
    const auto digit = hex_digit(text_[digits]);
    if (!digit) break;
    if (digits == kMaxDigits) return std::nullopt;
    value = (value << 4) | *digit;
  }
  if (digits == 0) return std::nullopt;
  text_.remove_prefix(digits);
  return value;
}

std::optional<std::string_view> Cursor::take_count(uint64_t count) {
  if (count > text_.size()) return std::nullopt;
  const std::string_view part = text_.substr(0, static_cast<size_t>(count));
  text_.remove_prefix(part.size());
  return part;
}

std::string_view Cursor::take_until(char separator) {
  const size_t end = std::min(text_.find(separator), text_.size());
  const std::string_view part = text_.substr(0, end);
  text_.remove_prefix(std::min(end + 1, text_.size()));
  return part;
}

}  // namespace dejavm::gdb
