#include "qmp/json_framer.h"

namespace dejavm::qmp {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

}  // namespace

std::optional<std::string> JsonFramer::take(size_t end) {
  std::string object = text_.substr(0, end);
  text_.erase(0, end);
  scanned_ = depth_ = 0;
  in_string_ = escaped_ = false;
  return object;
}

std::optional<std::string> JsonFramer::next() {
  if (broken_) return std::nullopt;
  if (scanned_ == 0) text_.erase(0, text_.find_first_not_of(kBlanks));
  if (!text_.empty() && text_[0] != '{') {
    size_t end = text_.find('\n');
    if (end != std::string::npos) return take(end);
    broken_ = text_.size() > kLongest;
    return std::nullopt;
  }
  for (; scanned_ < text_.size(); ++scanned_) {
    char c = text_[scanned_];
    if (in_string_) {
      if (!escaped_ && c == '"') in_string_ = false;
      escaped_ = !escaped_ && c == '\\';
    } else if (c == '"') {
      in_string_ = true;
    } else if (c == '{' || c == '[') {
      broken_ = ++depth_ > kDeepest;
    } else if (c == '}' || c == ']') {
      if (--depth_ == 0) return take(scanned_ + 1);
    }
    if (broken_) return std::nullopt;
  }
  broken_ = text_.size() > kLongest;
  return std::nullopt;
}

}  // namespace dejavm::qmp
