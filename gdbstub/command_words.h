// The packets whose name is a word: queries, vCont, and what LLDB adds.
#pragma once

#include <string_view>

#include "gdbstub/command.h"

namespace dejavm::gdb {

/// A whole text that is a thread id of ours.
bool names_our_thread(std::string_view text);

/// As parse_command().
Command parse_word(std::string_view payload);

}  // namespace dejavm::gdb
