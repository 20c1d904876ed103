#include "cli/command_line.h"

#include <algorithm>
#include <limits>

#include "base/clock.h"
#include "base/parse.h"

namespace dejavm::cli {

Status parse_options(const std::vector<std::string>& words, const std::vector<Option>& options,
                     const std::function<Status(std::string_view)>& operand) {
  for (size_t i = 0; i < words.size(); ++i) {
    std::string_view word = words[i];
    if (word == "--") {
      for (++i; i < words.size(); ++i) TRY(operand(words[i]));
      return {};
    }
    if (word.size() < 2 || word[0] != '-') {
      TRY(operand(word));
      continue;
    }
    std::string_view name = word.substr(word.starts_with("--") ? 2 : 1);
    size_t equals = word.starts_with("--") ? name.find('=') : std::string_view::npos;
    std::string_view bare = name.substr(0, equals);
    auto found = std::find_if(options.begin(), options.end(), [&](const Option& o) { return o.name == bare; });
    if (found == options.end()) {
      return fail_usage(fmt::format("option {} is not supported", word), "`dejavm COMMAND --help` lists what is.");
    }
    if (found->value_name.empty()) {
      if (equals != std::string_view::npos) return fail_usage(fmt::format("-{} takes no value", bare));
      TRY(found->apply({}));
    } else if (equals != std::string_view::npos) {
      TRY(found->apply(name.substr(equals + 1)));
    } else {
      if (i + 1 >= words.size()) return fail_usage(fmt::format("{} wants a value: {}", word, found->value_name));
      TRY(found->apply(words[++i]));
    }
  }
  return {};
}

std::string help_text(const std::vector<Option>& options) {
  std::string text;
  for (const Option& option : options) {
    if (option.help.empty()) continue;
    std::string left =
        fmt::format("  {}{} {}", option.name.size() > 1 && option.name.find('-') != std::string::npos ? "--" : "-",
                    option.name, option.value_name);
    text += fmt::format("{:<34} {}\n", left, option.help);
  }
  return text;
}

std::function<Status(std::string_view)> set_flag(bool& flag) {
  return [&flag](std::string_view) -> Status {
    flag = true;
    return {};
  };
}

std::function<Status(std::string_view)> set_text(std::string& text) {
  return [&text](std::string_view value) -> Status {
    text = value;
    return {};
  };
}

std::function<Status(std::string_view)> one_trace(std::string& file) {
  return [&file](std::string_view word) -> Status {
    if (!file.empty()) return fail_usage(fmt::format("one trace at a time: {} or {}?", file, word));
    file = word;
    return {};
  };
}

std::function<Status(std::string_view)> set_number(std::string name, std::function<void(uint64_t)> set, uint64_t least) {
  return [name = std::move(name), set = std::move(set), least](std::string_view value) -> Status {
    auto number = parse_u64(value);
    if (!number || *number < least)
      return fail_usage(fmt::format("{} wants a number of at least {}, not '{}'", name, least, value));
    set(*number);
    return {};
  };
}

std::function<Status(std::string_view)> set_seconds(std::string name, std::optional<uint64_t>& ns) {
  return [name = std::move(name), &ns](std::string_view value) -> Status {
    // Half of what 64 bits hold, so that a moment of a clock and a duration can be added.
    constexpr uint64_t kGreatest = std::numeric_limits<int64_t>::max() / kNsPerSecond;
    auto seconds = parse_u64(value);
    if (!seconds || *seconds == 0 || *seconds > kGreatest)
      return fail_usage(fmt::format("{} wants a number of seconds from 1 to {}, not '{}'", name, kGreatest, value));
    ns = *seconds * kNsPerSecond;
    return {};
  };
}

}  // namespace dejavm::cli
