// The subcommands. Each takes its words (without the program and its own name) and returns the exit status of cli: 0 done, 1
// failed, 2 wrong usage, 3 divergence, 4 damaged trace.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace dejavm::cli {

enum ExitStatus : int { kDone = 0, kFailed = 1, kUsage = 2, kDiverged = 3, kDamaged = 4 };

using Words = std::vector<std::string>;

Result<int> run_command(const Words& words);
Result<int> record_command(const Words& words);
Result<int> replay_command(const Words& words);
Result<int> gdb_command(const Words& words);
Result<int> info_command(const Words& words);
Result<int> dump_command(const Words& words);
Result<int> shell_command(const Words& words);

/// "dejavm 0.1.0"
std::string version();

}  // namespace dejavm::cli
