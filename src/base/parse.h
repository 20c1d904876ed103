// Numbers as users write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dejavm {

/// Decimal or 0x-hexadecimal, the whole text; nullopt for anything else or above 2^64-1.
std::optional<uint64_t> parse_u64(std::string_view text);

/// A number with an optional suffix K, M, G or T (powers of 1024), as QEMU's -m takes; without one it is multiplied by
/// `unit`. nullopt when malformed or too large.
std::optional<uint64_t> parse_size(std::string_view text, uint64_t unit);

/// The parts between separators; an empty text has one empty part.
std::vector<std::string_view> split(std::string_view text, char separator);

/// The parts of an option's value, as QEMU parses them: commas separate, and two of them are one that does not.
std::vector<std::string> split_option(std::string_view text);

/// The words of a line, separated by blanks.
std::vector<std::string_view> words(std::string_view text);

}  // namespace dejavm
