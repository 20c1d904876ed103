// A parser for QEMU-style options: one dash or two, exact names, values as the next word or after '='.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dejavm::cli {

/// One option. `value_name` is empty for a flag.
struct Option {
  std::string name;
  std::string value_name;
  std::string help;
  std::function<Status(std::string_view value)> apply;
};

/// Parses the words; what is not an option goes to `operand`. A word "--" hands everything behind it to `operand`. An option
/// that is not in the list is refused by name.
Status parse_options(const std::vector<std::string>& words, const std::vector<Option>& options,
                     const std::function<Status(std::string_view)>& operand);

/// "  -m SIZE        RAM ..." for each option.
std::string help_text(const std::vector<Option>& options);

// Ready-made `apply` functions.
std::function<Status(std::string_view)> set_flag(bool& flag);
std::function<Status(std::string_view)> set_text(std::string& text);
/// For an operand: the one trace that a command works on.
std::function<Status(std::string_view)> one_trace(std::string& file);
/// A number of at least `least`.
std::function<Status(std::string_view)> set_number(std::string name, std::function<void(uint64_t)> set, uint64_t least = 0);
/// A whole number of seconds, at least one, given on in nanoseconds. Refuses what would not fit a clock's lifetime.
std::function<Status(std::string_view)> set_seconds(std::string name, std::optional<uint64_t>& ns);

}  // namespace dejavm::cli
