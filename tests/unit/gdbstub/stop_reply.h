// Stop replies, without what every one of them has.
#pragma once

#include <string>

namespace dejavm::gdb {

/// Takes the registers rbp, rsp and rip out of stop replies.
inline std::string without_registers(std::string replies) {
  constexpr size_t kDigits = 16, kEach = 3 + kDigits + 1;
  for (size_t at = replies.find("06:"); at != std::string::npos; at = replies.find("06:", at + 1)) {
    if (replies.compare(at + kEach, 3, "07:") == 0 && replies.compare(at + 2 * kEach, 3, "10:") == 0) {
      replies.erase(at, 3 * kEach);
    }
  }
  return replies;
}

}  // namespace dejavm::gdb
