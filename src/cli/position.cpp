#include "cli/position.h"

#include <limits>

#include "base/parse.h"

namespace dejavm::cli {

Result<std::optional<replay::Position>> parse_position(std::string_view text) {
  if (text == "end") return std::nullopt;
  if (text.starts_with('@')) {
    auto count = parse_u64(text.substr(1));
    if (count) return replay::Position::after_start(*count);
  }
  size_t plus = text.find('+');
  auto event = parse_u64(text.substr(0, plus));
  auto steps = plus == std::string_view::npos ? std::optional<uint64_t>(0) : parse_u64(text.substr(plus + 1));
  if (!event || !steps || *event > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return fail_usage(
        fmt::format("'{}' is not a position", text),
        "Write an event number (123), 123+45 for 45 instructions after it, @N for the Nth instruction, or end.");
  }
  return replay::Position{static_cast<int64_t>(*event), *steps};
}

}  // namespace dejavm::cli
