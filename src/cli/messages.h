// What dejavm says: to a person on stderr, plain; to a program on stdout, as JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace dejavm::cli {

/// "dejavm: TEXT"
void say(std::string_view text);
/// "dejavm: error: WHAT" and, on the next line, what to do.
void say_error(const Error& error);
/// The answer of a prompt: "error: WHAT" and, on the next line, what to do.
std::string error_text(const Error& error);
int exit_status(const Error& error);

/// The text of a JSON document or value. Names and messages come from files and command lines, in any encoding: what is not
/// UTF-8 is shown as U+FFFD.
std::string json_text(const nlohmann::json& json);

/// 16 hexadecimal digits.
std::string hash_text(uint64_t hash);
/// "12.3 MiB"
std::string size_text(uint64_t bytes);

}  // namespace dejavm::cli
