// The texts of replies that more than one command gives.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "gdbstub/target.h"

namespace dejavm::gdb {

/// Error numbers as QEMU's stub sends them: the decimal errno behind an E.
inline constexpr const char* kFailed = "E01";
inline constexpr const char* kBadAddress = "E14";
inline constexpr const char* kInvalid = "E22";

/// An error for people: "what it was; what to do next".
std::string describe(const Error& error);

/// "E.TEXT": GDB shows the text where it answers a register packet. Characters that would break the frame become '?'.
std::string error_text(const Error& error);

/// The stop reason's name in a T packet.
std::string_view watch_reason(WatchKind kind);

}  // namespace dejavm::gdb
