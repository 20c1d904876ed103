#include "gdbstub/replies.h"

namespace dejavm::gdb {

namespace {

bool breaks_frame(char c) { return c < ' ' || c > '~' || c == '$' || c == '#' || c == '}' || c == '*'; }

}  // namespace

std::string describe(const Error& error) { return error.next.empty() ? error.what : error.what + "; " + error.next; }

std::string error_text(const Error& error) {
  constexpr size_t kMaxText = 1000;
  std::string text = "E." + describe(error).substr(0, kMaxText);
  for (char& c : text) {
    if (breaks_frame(c)) c = '?';
  }
  return text;
}

std::string_view watch_reason(WatchKind kind) {
  switch (kind) {
    case WatchKind::write:
      return "watch";
    case WatchKind::read:
      return "rwatch";
    case WatchKind::access:
      return "awatch";
  }
  return "watch";
}

}  // namespace dejavm::gdb
