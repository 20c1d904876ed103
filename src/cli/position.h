// POS, as users write it: EVENT, EVENT+INSTRUCTIONS, @INSTRUCTIONS (from the start) or end.
#pragma once

#include <optional>
#include <string_view>

#include "base/result.h"
#include "replay/replayer.h"

namespace dejavm::cli {

/// nullopt is `end`.
Result<std::optional<replay::Position>> parse_position(std::string_view text);

}  // namespace dejavm::cli
