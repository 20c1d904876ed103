#include "base/parse.h"

#include <charconv>
#include <limits>

namespace dejavm {

std::optional<uint64_t> parse_u64(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    text.remove_prefix(2);
    base = 16;
  }
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<uint64_t> parse_size(std::string_view text, uint64_t unit) {
  if (!text.empty()) {
    static constexpr std::string_view kSuffixes = "kKmMgGtT";
    size_t index = kSuffixes.find(text.back());
    if (index != std::string_view::npos) {
      unit = uint64_t{1} << (10 * (index / 2 + 1));
      text.remove_suffix(1);
    }
  }
  auto value = parse_u64(text);
  if (!value || (unit != 0 && *value > std::numeric_limits<uint64_t>::max() / unit)) return std::nullopt;
  return *value * unit;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::vector<std::string> split_option(std::string_view text) {
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < text.size(); ++i) {
    bool comma = text[i] == ',';
    if (comma && text.substr(i, 2) != ",,") {
      parts.emplace_back();
      continue;
    }
    parts.back() += text[i];
    if (comma) ++i;
  }
  return parts;
}

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    size_t start = text.find_first_not_of(" \t\r\n");
    if (start == std::string_view::npos) return parts;
    text.remove_prefix(start);
    size_t end = text.find_first_of(" \t\r\n");
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end);
  }
}

}  // namespace dejavm
