// dejavm shell: browses a trace and drives its replay with the words of the monitor.
#include <readline/history.h>
#include <readline/readline.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/messages.h"
#include "cli/shell.h"

namespace dejavm::cli {
namespace {

// readline's completion calls plain functions; the candidates are those of the one shell of this process, set around each
// line.
const std::vector<std::string>* completion_candidates = nullptr;

char* next_candidate(const char* prefix, int state) {
  static size_t index;
  if (state == 0) index = 0;
  while (completion_candidates != nullptr && index < completion_candidates->size()) {
    const std::string& candidate = (*completion_candidates)[index++];
    if (candidate.starts_with(prefix)) return ::strdup(candidate.c_str());
  }
  return nullptr;
}

char** complete(const char* prefix, int, int) {
  rl_attempted_completion_over = 1;  // no file names
  return rl_completion_matches(prefix, next_candidate);
}

std::string history_path() {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  if (state != nullptr && *state != '\0') return std::string(state) + "/dejavm_history";
  return home != nullptr ? std::string(home) + "/.dejavm_history" : std::string();
}

void interactive(Shell& shell) {
  std::string history = history_path();
  if (!history.empty()) ::read_history(history.c_str());
  rl_attempted_completion_function = complete;
  rl_basic_word_break_characters = " \t\n";
  fmt::print("dejavm shell. `help` lists the commands, Tab completes, `quit` ends.\n");
  while (!shell.wants_to_quit()) {
    std::vector<std::string> candidates = shell.candidates();
    completion_candidates = &candidates;
    char* line = ::readline("(dejavm) ");
    completion_candidates = nullptr;
    if (line == nullptr) break;
    if (*line != '\0') ::add_history(line);
    fmt::print("{}", shell.execute(line));
    std::free(line);
  }
  if (!history.empty()) ::write_history(history.c_str());
}

/// Reads commands that nobody types: each is shown, then what it says.
bool scripted(Shell& shell, std::istream& input) {
  bool good = true;
  for (std::string line; !shell.wants_to_quit() && std::getline(input, line);) {
    if (line.empty() || line.starts_with('#')) continue;
    fmt::print("(dejavm) {}\n{}", line, shell.execute(line));
    good = good && !shell.failed();
  }
  return good;
}

}  // namespace

Result<int> shell_command(const Words& words) {
  std::string file, script;
  bool help = false;
  std::vector<Option> options = {{"x", "SCRIPT", "reads commands from a file and ends", set_text(script)},
                                 {"help", "", "this text", set_flag(help)}};
  TRY(parse_options(words, options, one_trace(file)));
  if (help) {
    fmt::print(
        "Usage: dejavm shell [FILE] [-x SCRIPT]\nBrowses a trace and drives its replay.\n\n{}\n{}\nExample:\n  dejavm shell "
        "bios.dvt\n",
        help_text(options), Shell::help());
    return kDone;
  }
  Shell shell;
  if (!file.empty()) {
    std::string text = shell.execute("open " + file);
    if (shell.failed()) {
      fmt::print(stderr, "dejavm: {}", text);
      return kFailed;
    }
    fmt::print("{}", text);
  }
  if (!script.empty()) {
    std::ifstream input(script);
    if (!input) return fail_errno(fmt::format("cannot open {}", script));
    return scripted(shell, input) ? kDone : kFailed;
  }
  if (::isatty(STDIN_FILENO) == 0) return scripted(shell, std::cin) ? kDone : kFailed;
  interactive(shell);
  return kDone;
}

}  // namespace dejavm::cli
