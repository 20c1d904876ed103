#include "qmp/management.h"

namespace dejavm::qmp {

const char* status_word(const RunState& state) {
  return state.running                         ? "running"
         : !state.started                      ? "prelaunch"
         : state.why == Attendant::Why::failed ? "internal-error"
         : state.why == Attendant::Why::debug  ? "debug"
                                               : "paused";
}

std::string with_crlf(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\n') out += '\r';
    out += c;
  }
  return out;
}

}  // namespace dejavm::qmp
